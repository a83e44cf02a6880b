import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { actor, agent, agentTool, type ModelRequest, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'
import { aborted } from '../../helpers/test-actors.ts'

const asks = (args: unknown, call = 'c') => calls({ call, name: 'research', args })

/** A model that says a word and then waits for its signal, which it counts. */
function waiting() {
  const seen = { open: 0, stopped: 0 }
  const model = scriptedModel(async function* ({ signal }: ModelRequest) {
    seen.open++
    yield { type: 'text', text: 'Half' }
    await aborted(signal)
    seen.stopped++
    signal.throwIfAborted()
  })
  return { model, seen }
}

describe('an agent as a tool of another', () => {
  test('runs as a child with the prompt of the model, and its answer is the result of the call', async () => {
    const researcher = scriptedModel(says('Rain.'))
    const model = scriptedModel(asks({ prompt: 'weather in Oslo' }), says('It rains.'))
    const research = agentTool(agent({ model: researcher }), { description: 'Finds things out' })
    await using served = await servedAgent({ model, tools: { research } })
    expect(await served.client.start('agent', 'go').result).toBe('It rains.')
    expect(researcher.asked).toEqual([[{ role: 'user', content: 'weather in Oslo' }]])
    expect(model.asked[1]?.at(-1)).toEqual({ role: 'tool', call: 'c', name: 'research', content: 'Rain.' })
    expect(research.parameters).toMatchObject({ type: 'object', required: ['prompt'] })
  })

  test('attributes what the child says, keeps its text apart from that of the run, and counts its usage', async () => {
    const research = agentTool(agent({ model: scriptedModel(says('Rain.')) }), { description: 'x', name: 'Ada' })
    const model = scriptedModel(asks({ prompt: 'x' }), says('It rains.'))
    await using served = await servedAgent({ model, tools: { research } })
    const watched = new Watched(served.client.start('agent', 'go'))
    const end = await watched.run.end
    expect(await watched.run.result).toBe('It rains.')
    const { agent: id, name } = await watched.first('agent.start')
    expect(name).toBe('Ada')
    expect(watched.all('token').map(({ text, agent }) => [text, agent])).toEqual([
      ['Rain.', id],
      ['It rains.', undefined],
    ])
    const types = watched.events.filter((event) => event.type !== 'usage').map(({ type }) => type)
    expect(types.indexOf('agent.end')).toBeLessThan(types.indexOf('tool.result'))
    expect(end.usage).toEqual({ input: 30, output: 9 })
  })

  test('makes the input of the agent of arguments of its own', async () => {
    const researcher = scriptedModel(says('ok'))
    const input = z.object({ city: z.string() }).transform(({ city }) => ({ prompt: `weather in ${city}` }))
    const parameters = { type: 'object', properties: { city: { type: 'string' } } }
    const research = agentTool(agent({ model: researcher }), { description: 'x', input, parameters })
    const model = scriptedModel(asks({ city: 'Oslo' }), asks({ town: 'Oslo' }), says('ok'))
    await using served = await servedAgent({ model, tools: { research } })
    await served.client.start('agent', 'go').result
    expect(researcher.asked).toEqual([[{ role: 'user', content: 'weather in Oslo' }]])
    expect(model.asked[2]?.at(-1)?.content).toMatch(/^Error: invalid arguments: city/)
  })

  test('may be any other actor, whose result the model gets as JSON', async () => {
    const count = actor({ input: z.object({ to: z.int() }), ask: ({ to }) => ({ counted: to }) })
    const research = agentTool(count, { description: 'x', input: z.object({ to: z.int() }) })
    const model = scriptedModel(asks({ to: 3 }), says('ok'))
    await using served = await servedAgent({ model, tools: { research } })
    await served.client.start('agent', 'go').result
    expect(model.asked[1]?.at(-1)?.content).toBe('{"counted":3}')
  })

  test.each(['run', 'call', 'agent'] as const)('is stopped by a cancel of the %s', async (target) => {
    const { model: researcher, seen } = waiting()
    const model = scriptedModel(asks({ prompt: 'x' }), says('Without it.'))
    const research = agentTool(agent({ model: researcher }), { description: 'x' })
    await using served = await servedAgent({ model, tools: { research } })
    const watched = new Watched(served.client.start('agent', 'go'))
    const { agent: id = '' } = await watched.first('token')
    if (target === 'run') {
      expect(await watched.run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true, provider: 'closed' })
    } else {
      await watched.run.cancel(target === 'call' ? { call: 'c' } : { agent: id })
      expect(await watched.run.result).toBe('Without it.')
      const { outcome, error } = await watched.first('tool.result')
      expect([outcome, error]).toEqual(
        target === 'call' ? ['cancelled', undefined] : ['error', 'the agent was stopped before it had an answer'],
      )
    }
    await eventually(() => seen.stopped === 1, 'the model of the child was stopped')
    expect((await watched.first('agent.end', () => true).catch(() => undefined))?.outcome).toBe(
      target === 'run' ? undefined : 'cancelled',
    )
  })

  test('that fails is a tool error with the message of its run, and the run goes on', async () => {
    const broken = agent({ model: scriptedModel(() => [new Error('key sk-123')]) })
    const model = scriptedModel(asks({ prompt: 'x' }), says('Without it.'))
    await using served = await servedAgent({ model, tools: { research: agentTool(broken, { description: 'x' }) } })
    expect(await served.client.start('agent', 'go').result).toBe('Without it.')
    expect(model.asked[1]?.at(-1)?.content).toMatch(/^Error: /)
    expect(JSON.stringify(model.asked[1])).not.toContain('sk-123')
  })

  test('asks the people attached to the run, who answer through it', async () => {
    const pay = tool({ description: 'Pays', needsApproval: true, run: () => 'paid' })
    const payer = agent({
      model: scriptedModel(calls({ call: 'p', name: 'pay', args: {} }), says('Paid.')),
      tools: { pay },
    })
    const model = scriptedModel(asks({ prompt: 'x' }), says('All paid.'))
    await using served = await servedAgent({ model, tools: { research: agentTool(payer, { description: 'x' }) } })
    const watched = new Watched(served.client.start('agent', 'go'))
    const { call } = await watched.first('request')
    expect(await watched.run.send('approve', { call, ok: true })).toBe('accepted')
    expect(await watched.run.result).toBe('All paid.')
  })

  test('refuses an unknown option', () => {
    expect(() => agentTool(agent({}), { descripton: 'x' } as never)).toThrow('did you mean description')
  })
})

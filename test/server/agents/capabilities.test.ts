import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { MillraceError } from '../../../protocol/errors.ts'
import { type AgentDefinition, type Model, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'

describe('every failure of a chat', () => {
  const model = scriptedModel(says('Hello.'))
  const failing: Model = {
    ...model,
    async *stream() {
      yield { type: 'text', text: 'Hel' }
      throw new MillraceError('provider_error', 'the provider failed', { retryable: true })
    },
  }
  const failures: [what: string, definition: AgentDefinition, actor: string, input: unknown, code: string][] = [
    ['an input that does not fit', { model }, 'agent', { prompt: 7 }, 'invalid_input'],
    ['an actor that is not there', { model }, 'nobody', 'hi', 'not_found'],
    ['a model that is not there', { model, turn: () => ({ model: 'openai:gone' }) }, 'agent', 'hi', 'not_found'],
    ['a model that fails', { model: failing }, 'agent', 'hi', 'provider_error'],
    [
      'code of an application that throws',
      {
        model,
        turn: () => {
          throw new Error('mine')
        },
      },
      'agent',
      'hi',
      'actor_failed',
    ],
  ]
  test.each(failures)('is the one end of its run, with a code: %s', async (_, definition, name, input, code) => {
    await using served = await servedAgent(definition)
    const watched = new Watched(served.client.start(name as 'agent', input))
    expect(await watched.run.end).toMatchObject({ outcome: 'error', error: { code } })
    expect(await watched.over).toMatchObject({ code })
    // The server goes on, and so does the connection.
    expect(await served.client.runs()).toBeInstanceOf(Array)
  })

  test('is a missing run for a client that names one that never was', async () => {
    await using served = await servedAgent({ model })
    expect(await served.client.attach('agent', 'r_AAAAAAAAAAAAAAAAAAAAAA').end).toMatchObject({
      outcome: 'error',
      error: { code: 'not_found' },
    })
  })
})

describe('the events of an agent', () => {
  test('have rising numbers and times, and report turns, calls, results and the figures of the end', async () => {
    const add = tool({
      description: 'Adds',
      input: z.object({ a: z.number(), b: z.number() }),
      run: ({ a, b }) => a + b,
    })
    const model = scriptedModel(
      [{ type: 'thinking', text: 'sums' }, ...calls({ call: 'c1', name: 'add', args: { a: 1, b: 2 } })],
      says('Three.'),
    )
    await using served = await servedAgent({ model, tools: { add }, maxIterations: 3 })
    const before = Date.now()
    const watched = new Watched(served.client.start('agent', 'sum'))
    const end = await watched.run.end
    await watched.over
    const numbers = watched.events.map(({ seq }) => seq)
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b))
    for (const { at } of watched.events) expect(at - before).toBeGreaterThanOrEqual(-1_000)
    for (const { at } of watched.events) expect(at - Date.now()).toBeLessThanOrEqual(1_000)
    expect(watched.all('iteration')[0]).toMatchObject({ n: 1, max: 3 })
    expect(watched.all('thinking')[0]).toMatchObject({ text: 'sums' })
    expect(watched.all('tool.call')[0]).toMatchObject({ call: 'c1', name: 'add', args: { a: 1, b: 2 } })
    expect(watched.all('tool.result')[0]).toMatchObject({ call: 'c1', outcome: 'ok', output: 3 })
    expect(watched.all('tool.result')[0]!.ms).toBeGreaterThanOrEqual(0)
    expect(watched.all('iteration.end').map(({ stop }) => stop)).toEqual(['tool_calls', 'stop'])
    expect(end).toMatchObject({ outcome: 'done', iterations: 2, usage: { input: 20 } })
    expect(end.ms).toBeGreaterThanOrEqual(0)
  })
})

import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import { actor, agent, type Message, type ModelRequest, type TurnOptions, tool } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { testServer } from '../../helpers/server.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'

const look = tool({ description: 'Looks', run: () => 'a door' })
const open = tool({ description: 'Opens', run: () => 'opened' })
const looks = calls({ call: 'c', name: 'look', args: {} })

/** A model that calls `look` once and then answers, and its requests. */
function recorded(...answers: Parameters<typeof scriptedModel>) {
  const model = scriptedModel(...(answers.length > 0 ? answers : [looks, says('Done.')]))
  const requests: ModelRequest[] = []
  return {
    ...model,
    requests,
    stream(request: ModelRequest) {
      requests.push(request)
      return model.stream(request)
    },
  }
}

describe('turn of an agent', () => {
  test('is asked before each request, with the number of the turn and the conversation so far', async () => {
    const asked: { n: number; messages: readonly Message[] }[] = []
    await using served = await servedAgent({
      model: recorded(),
      tools: { look },
      turn: ({ n, messages }) => void asked.push({ n, messages }),
    })
    expect(await served.client.start('agent', 'go').result).toBe('Done.')
    expect(asked).toEqual([
      { n: 1, messages: [{ role: 'user', content: 'go' }] },
      {
        n: 2,
        messages: [
          { role: 'user', content: 'go' },
          { role: 'assistant', content: '', calls: [{ call: 'c', name: 'look', args: {} }] },
          { role: 'tool', call: 'c', name: 'look', content: 'a door' },
        ],
      },
    ])
  })

  test('changes instructions, settings, tools and tool choice for one turn only', async () => {
    const model = recorded(looks, looks, says('Done.'))
    await using served = await servedAgent({
      model,
      tools: { look },
      instructions: 'be brief',
      settings: { temperature: 0.1, maxTokens: 50 },
      turn: async ({ n }) =>
        n === 2
          ? { instructions: 'open it', settings: { temperature: 0.9 }, tools: { look, open }, toolChoice: 'required' }
          : undefined,
    })
    await served.client.start('agent', 'go').result
    const seen = model.requests.map(({ messages, tools, temperature, maxTokens, toolChoice }) => ({
      system: messages[0]?.content,
      tools: tools?.map(({ name }) => name),
      temperature,
      maxTokens,
      toolChoice,
    }))
    const usual = { system: 'be brief', tools: ['look'], temperature: 0.1, maxTokens: 50, toolChoice: undefined }
    expect(seen).toEqual([
      usual,
      { system: 'open it', tools: ['look', 'open'], temperature: 0.9, maxTokens: 50, toolChoice: 'required' },
      usual,
    ])
  })

  test('may give a turn no tools at all', async () => {
    const model = recorded()
    await using served = await servedAgent({ model, tools: { look }, turn: ({ n }) => (n === 2 ? { tools: {} } : {}) })
    await served.client.start('agent', 'go').result
    expect(model.requests.map(({ tools }) => tools?.length)).toEqual([1, undefined])
  })

  test('shortens what the model gets, and the agent keeps the whole conversation', async () => {
    const model = recorded()
    let kept: Message[] = []
    await using served = await servedAgent({
      model,
      tools: { look },
      turn: ({ n }) => (n === 2 ? { messages: [{ role: 'user', content: 'in short' }] } : {}),
      onFinish: (conversation) => void (kept = conversation),
    })
    await served.client.start('agent', 'go').result
    expect(model.requests[1]?.messages).toEqual([{ role: 'user', content: 'in short' }])
    expect(kept.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'assistant'])
  })

  test('makes what it gives the model valid: a tool call that was cut off has an answer', async () => {
    const model = recorded()
    await using served = await servedAgent({
      model,
      tools: { look },
      turn: ({ n, messages }) => (n === 2 ? { messages: messages.slice(0, 2) } : {}),
    })
    await served.client.start('agent', 'go').result
    expect(model.requests[1]?.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool'])
  })

  test('chooses the model of a turn, by its id too', async () => {
    const first = { ...recorded(looks), id: 'demo:first' }
    const second = { ...recorded(says('From the second.')), id: 'demo:second' }
    await using served = await servedAgent(
      { model: first, tools: { look }, turn: ({ n }) => (n === 2 ? { model: 'demo:second' } : {}) },
      { models: [second] },
    )
    expect(await served.client.start('agent', 'go').result).toBe('From the second.')
    expect([first.requests.length, second.requests.length]).toEqual([1, 1])
  })

  test('ends the run before a turn, with the text so far and without another request', async () => {
    const model = recorded([{ type: 'text', text: 'So far.' }, ...looks], says('More.'))
    await using served = await servedAgent({ model, tools: { look }, turn: ({ n }) => ({ stop: n === 2 }) })
    const watched = new Watched(served.client.start('agent', 'go'))
    expect(await watched.run.end).toMatchObject({ outcome: 'done', iterations: 1 })
    expect(watched.text).toBe('So far.')
    expect(model.requests).toHaveLength(1)
  })

  test('knows what the run has cost so far, with the children of its tools', async () => {
    const child = agent({ model: scriptedModel(says('child')) })
    const delegate = tool({ description: 'x', run: (_, { spawn }) => spawn(child, 'go').result })
    const costs: unknown[] = []
    await using served = await servedAgent({
      model: recorded(calls({ call: 'c', name: 'delegate', args: {} }), says('Done.')),
      tools: { delegate },
      turn: ({ usage }) => void costs.push(usage),
    })
    await served.client.start('agent', 'go').result
    expect(costs).toEqual([undefined, { input: 20, output: 7, exact: true }])
  })

  test('is not waited for by a cancel, and no request follows it', async () => {
    const model = recorded()
    const asked = latch()
    await using served = await servedAgent({
      model,
      async turn({ signal }) {
        asked.open()
        await aborted(signal)
        return {}
      },
    })
    const run = served.client.start('agent', 'go')
    await asked.opened
    expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
    expect(model.requests).toEqual([])
  })

  test('keeps messages that come while it decides for the next turn', async () => {
    const deciding = latch()
    const decided = latch()
    const model = recorded(says('One.'), says('Two.'))
    await using served = await servedAgent({
      model,
      async turn({ n }) {
        if (n > 1) return {}
        deciding.open()
        await decided.opened
        return {}
      },
    })
    const run = served.client.start('agent', 'go')
    await deciding.opened
    expect(await run.send('message', 'and then?')).toBe('accepted')
    decided.open()
    expect(await run.result).toBe('One.Two.')
    expect(model.requests[1]?.messages.at(-1)).toEqual({ role: 'user', content: 'and then?' })
  })

  const wrong: [string, () => unknown, string][] = [
    ['an unknown member', () => ({ instruction: 'x' }), 'unknown option instruction of turn(); did you mean'],
    ['a member of the wrong kind', () => ({ messages: 'x' }), 'messages must be a list'],
    ['no object', () => 'stop', 'turn() needs an object of options'],
    ['a tool name that providers refuse', () => ({ tools: { 'a b': look } }), 'invalid tool name a b'],
    ['a setting that is none', () => ({ settings: { temperature: 'hot' } }), 'temperature'],
    ['a choice of a tool that is not there', () => ({ toolChoice: { tool: 'look' } }), 'no tool "look"'],
  ]
  test.each(wrong)('that returns %s fails the run, and only the server learns why', async (_, turn, why) => {
    await using served = await servedAgent({ model: recorded(), turn: turn as () => TurnOptions })
    const end = await served.client.start('agent', 'go').end
    expect(end).toMatchObject({ outcome: 'error', error: { code: 'actor_failed' } })
    expect(JSON.stringify(end)).not.toContain(why)
    expect(served.errors.map(String)).toEqual([expect.stringContaining(why)])
  })

  test('that throws an error fails the run without its text, and a MillraceError fails it as it is', async () => {
    const thrown = [new Error('secret'), new MillraceError('budget_exceeded', 'enough for today')]
    for (const error of thrown) {
      await using served = await servedAgent({ model: recorded(), turn: () => Promise.reject(error) })
      const end = await served.client.start('agent', 'go').end
      const isOurs = error instanceof MillraceError
      expect(end.error).toMatchObject(
        isOurs ? { code: 'budget_exceeded', message: 'enough for today' } : { code: 'actor_failed' },
      )
      expect(JSON.stringify(end)).not.toContain('secret')
    }
  })
})

describe('context of an agent', () => {
  test('is made once for a run, and given to turns, tools, approvals, steps and the end', async () => {
    const got: [string, unknown][] = []
    let made = 0
    const note =
      (where: string) =>
      ({ context }: { context: unknown }) =>
        void got.push([where, context])
    const check = tool({
      description: 'x',
      needsApproval: (_, given) => {
        note('needsApproval')(given)
        return false
      },
      run: (_, given) => note('run')(given),
    })
    await using served = await servedAgent({
      context: async ({ principal, meta, input, run }) => ({
        of: ++made,
        principal: principal.id,
        meta,
        asked: input.messages[0]?.content,
        actor: run.actor,
      }),
      model: recorded(calls({ call: 'c', name: 'check', args: {} }), says('Done.')),
      tools: { check },
      turn: (given) => note(`turn ${given.n}`)(given),
      onStep: (given) => note(`step ${given.n}`)(given),
      onFinish: (_, given) => note('finish')(given),
    })
    await served.client.start('agent', 'go', { meta: { shop: 7 } }).result
    const context = { of: 1, principal: 'alice', meta: { shop: 7 }, asked: 'go', actor: 'agent' }
    const places = ['turn 1', 'needsApproval', 'run', 'step 1', 'turn 2', 'step 2', 'finish']
    expect(got).toEqual(places.map((place) => [place, context]))
  })

  test('that throws fails the run without its text before any request, and without onFinish', async () => {
    const model = recorded()
    let finished = false
    await using served = await servedAgent({
      model,
      context: () => Promise.reject(new Error('the database is at 10.0.0.7')),
      onFinish: () => void (finished = true),
    })
    const end = await served.client.start('agent', 'go').end
    expect(end.error).toMatchObject({ code: 'actor_failed' })
    expect(JSON.stringify(end)).not.toContain('10.0.0.7')
    expect(served.errors.map(String)).toEqual(['Error: the database is at 10.0.0.7'])
    expect({ requests: model.requests.length, finished }).toEqual({ requests: 0, finished: false })
  })

  test('that is being made gets the signal of a cancel, and no request follows', async () => {
    const model = recorded()
    const begun = latch()
    await using served = await servedAgent({
      model,
      async context({ signal }) {
        begun.open()
        await aborted(signal)
      },
    })
    const run = served.client.start('agent', 'go')
    await begun.opened
    expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
    expect(model.requests).toEqual([])
  })

  test('of an actor of your own is what it gives to its tools', async () => {
    const tell = tool({ description: 'x', run: (_, { context }) => JSON.stringify(context) })
    const mine = actor({
      ask: (_: unknown, { tools }) => tools({ tell }, { db: 1 }).call({ call: 'c', name: 'tell', args: {} }),
    })
    await using served = await testServer({ mine })
    expect(await served.server.router.ask('mine', undefined)).toEqual({ outcome: 'ok', content: '{"db":1}' })
  })
})

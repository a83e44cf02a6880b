import { describe, expect, test } from 'vitest'
import type { Run } from '../../../client-sdk/node.ts'
import { tool } from '../../../server/actors/tool.ts'
import { actor, agent, agentTool, type ModelRequest, priced } from '../../../server/index.ts'
import { servedAgent, Watched } from '../../helpers/agent-run.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'

const GATE = { call: 'c', name: 'gate', args: {} }

/** An agent whose first turn calls a tool that waits for the test, and whose second turn answers. */
function twoTurns() {
  const [begun, release] = [latch(), latch()]
  const gate = tool({
    description: 'x',
    async run() {
      begun.open()
      await release.opened
      return 'ok'
    },
  })
  const model = scriptedModel(calls(GATE), says('Done.'))
  return { model, begun, release, definition: { model, tools: { gate } } }
}

/** A model that says words until its signal aborts. */
const endless = () =>
  scriptedModel(async function* ({ signal }: ModelRequest) {
    for (let n = 0; !signal.aborted; n++) {
      yield { type: 'text', text: `${n} ` }
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    signal.throwIfAborted()
  })

/** Waits until the server has answered an order that changes nothing: what a run does at once, it has done then. */
async function roundTrip(run: Run): Promise<void> {
  expect(await run.send('govern', {})).toBe('accepted')
}

describe('a run that is paused', () => {
  test('sends no request until it is resumed', async () => {
    const { model, begun, release, definition } = twoTurns()
    await using served = await servedAgent(definition)
    const watched = new Watched(served.client.start('agent', 'go'))
    await begun.opened
    expect(await watched.run.send('govern', { paused: true })).toBe('accepted')
    await watched.first('notice', ({ code }) => code === 'paused')
    release.open()
    await watched.first('iteration.end')
    await roundTrip(watched.run)
    expect([model.asked.length, watched.all('iteration').length]).toEqual([1, 1])
    await watched.run.send('govern', { paused: false })
    expect(await watched.run.result).toBe('Done.')
    expect(watched.all('notice').map(({ code }) => code)).toEqual(['paused', 'governed', 'resumed'])
  })

  test('is stopped by a cancel at once', async () => {
    const { model, begun, release, definition } = twoTurns()
    await using served = await servedAgent(definition)
    const watched = new Watched(served.client.start('agent', 'go'))
    await begun.opened
    await watched.run.send('govern', { paused: true })
    release.open()
    await watched.first('iteration.end')
    await roundTrip(watched.run)
    expect(await watched.run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true, provider: 'none' })
    expect(model.asked).toHaveLength(1)
  })

  test('does not use up its deadline', async () => {
    const { begun, release, definition } = twoTurns()
    const clock = handClock()
    await using served = await servedAgent(definition, { runtime: clock })
    const run = served.client.start('agent', 'go', { timeoutMs: 300 })
    await begun.opened
    await run.send('govern', { paused: true })
    clock.advance(400)
    await run.send('govern', { paused: false })
    release.open()
    expect(await run.result).toBe('Done.')
  })

  test('holds the runs below it, and a run below it may be paused alone', async () => {
    const child = twoTurns()
    const other = twoTurns()
    const tools = {
      one: agentTool(agent(child.definition), { description: 'x' }),
      two: agentTool(agent(other.definition), { description: 'x' }),
    }
    const args = { prompt: 'go' }
    const model = scriptedModel(
      calls({ call: '1', name: 'one', args }, { call: '2', name: 'two', args }),
      says('Both.'),
    )
    await using served = await servedAgent({ model, tools })
    const watched = new Watched(served.client.start('agent', 'go'))
    await Promise.all([child.begun.opened, other.begun.opened])
    const first = await watched.first('agent.start')
    expect(await watched.run.send('govern', { agent: first.agent, paused: true })).toBe('accepted')
    child.release.open()
    other.release.open()
    await watched.first('tool.result', ({ call }) => call === '2')
    expect([child.model.asked.length, other.model.asked.length]).toEqual([1, 2])
    await watched.run.send('govern', { paused: true })
    await watched.run.send('govern', { agent: first.agent, paused: false })
    await roundTrip(watched.run)
    expect(child.model.asked).toHaveLength(1)
    await watched.run.send('govern', { paused: false })
    expect(await watched.run.result).toBe('Both.')
  })
})

describe('a run with a budget', () => {
  test('ends when its tokens are used up, with its text and its usage', async () => {
    await using served = await servedAgent({ model: endless() })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('token')
    await watched.run.send('govern', { budget: { tokens: 50 } })
    const end = await watched.run.end
    expect(end).toMatchObject({ outcome: 'error', error: { code: 'budget_exceeded' }, usage: { exact: false } })
    expect(end.usage!.output).toBeGreaterThanOrEqual(40)
    expect(watched.text).toMatch(/^0 1 2 /)
    expect(watched.all('token').length).toBe(end.usage!.output)
    await eventually(() => served.server.liveRuns === 0, 'it has settled')
  })

  test('that is used up already ends at once, and one that is raised in time does not', async () => {
    const { begun, release, definition } = twoTurns()
    await using served = await servedAgent(definition)
    const used = served.client.start('agent', 'go')
    await begun.opened
    await used.send('govern', { budget: { tokens: 15 } })
    expect((await used.end).error).toMatchObject({ code: 'budget_exceeded', retryable: false })
    expect((await used.end).usage).toMatchObject({ input: 10, output: 5 })

    const next = twoTurns()
    await using again = await servedAgent(next.definition)
    const raised = again.client.start('agent', 'go')
    await next.begun.opened
    await raised.send('govern', { budget: { tokens: 16, ms: 60_000 } })
    await raised.send('govern', { budget: { tokens: 1_000 } })
    next.release.open()
    expect(await raised.result).toBe('Done.')
    release.open()
  })

  test('ends when its money is used up, also in the middle of an answer, and says what it cost', async () => {
    const price = 0.01
    await using served = await servedAgent({ model: priced(endless(), { input: 0, output: price * 1_000_000 }) })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('token')
    await watched.run.send('govern', { budget: { cost: 0.5 } })
    const end = await watched.run.end
    expect(end).toMatchObject({ outcome: 'error', error: { code: 'budget_exceeded' }, usage: { exact: false } })
    expect(end.usage!.cost).toBeGreaterThanOrEqual(0.5)
    expect(end.usage!.cost).toBeCloseTo(end.usage!.output * price, 6)

    const paid = served.client.start('agent', 'go')
    await paid.opened
    expect(await paid.cancel()).toMatchObject({
      outcome: 'cancelled',
      usage: { exact: false, cost: expect.any(Number) },
    })
  })

  test('counts the cost that a provider states, and is not ended by less', async () => {
    const { begun, release, definition } = twoTurns()
    await using served = await servedAgent({
      ...definition,
      model: priced(definition.model, { input: 1e5, output: 1e5 }),
    })
    const used = served.client.start('agent', 'go')
    await begun.opened
    await used.send('govern', { budget: { cost: 1.6 } })
    await used.send('govern', { budget: { cost: 1.5 } })
    expect((await used.end).error).toMatchObject({ code: 'budget_exceeded' })
    expect((await used.end).usage).toMatchObject({ input: 10, output: 5, cost: 1.5 })
    release.open()
  })

  test('counts what its children cost', async () => {
    const model = scriptedModel(calls({ call: '1', name: 'one', args: { prompt: 'go' } }), says('Done.'))
    await using served = await servedAgent({
      model,
      tools: { one: agentTool(agent({ model: endless() }), { description: 'x' }) },
    })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('token')
    await watched.run.send('govern', { budget: { tokens: 60 } })
    expect((await watched.run.end).error?.code).toBe('budget_exceeded')
  })

  test('of one run below it ends only that one', async () => {
    const model = scriptedModel(calls({ call: '1', name: 'one', args: { prompt: 'go' } }), says('Without it.'))
    await using served = await servedAgent({
      model,
      tools: { one: agentTool(agent({ model: endless() }), { description: 'x' }) },
    })
    const watched = new Watched(served.client.start('agent', 'go'))
    const { agent: id } = await watched.first('token')
    await watched.run.send('govern', { agent: id, budget: { tokens: 20 } })
    expect(await watched.run.result).toBe('Without it.')
    expect((await watched.first('tool.result')).error).toContain('budget of 20 tokens')
  })

  test.each([
    ['time', { ms: 30 }, 'budget of 30 ms'],
    ['price', { cost: 1 }, 'it cost 2'],
  ])('ends when its %s is used up', async (_, budget, words) => {
    const model = scriptedModel(async function* ({ signal }) {
      yield { type: 'text', text: 'x' }
      yield { type: 'usage', input: 1, output: 1, cost: 2 }
      await aborted(signal)
      signal.throwIfAborted()
    })
    await using served = await servedAgent({ model })
    const watched = new Watched(served.client.start('agent', 'go'))
    await watched.first('usage')
    await watched.run.send('govern', { budget })
    expect((await watched.run.end).error).toMatchObject({
      code: 'budget_exceeded',
      message: expect.stringContaining(words) as string,
    })
  })
})

describe('a run with a rate', () => {
  test('takes no more of its model than that, until the rate is lifted', async () => {
    let asked = 0
    const hold = latch()
    const model = scriptedModel(async function* () {
      await hold.opened
      while (asked < 100) {
        asked++
        yield { type: 'text', text: 'x' }
      }
      yield { type: 'finish', stop: 'stop' }
    })
    const clock = handClock()
    await using served = await servedAgent({ model }, { runtime: clock })
    const run = served.client.start('agent', 'go')
    await run.opened
    await run.send('govern', { perSec: 100 })
    hold.open()
    for (let piece = 1; piece <= 20; piece++) {
      // One more waits for its time.
      await eventually(() => asked > piece, `piece ${piece} is taken`)
      await roundTrip(run)
      expect(asked).toBe(piece + 1)
      clock.advance(10)
    }
    await run.send('govern', { perSec: null })
    await eventually(() => asked === 100, 'all are taken')
    expect(await run.result).toHaveLength(100)
  })
})

describe('an order that cannot be carried out', () => {
  test.each([
    [{ pause: true }, 'invalid_input'],
    [{ perSec: 0 }, 'invalid_input'],
    [{ budget: { tokens: -1 } }, 'invalid_input'],
    ['stop', 'invalid_input'],
    [{ agent: 'r_other', paused: true }, 'not_found'],
  ])('is refused: %j', async (order, code) => {
    await using served = await servedAgent({ model: endless() })
    const run = served.client.start('agent', 'go')
    await run.opened
    await expect(run.send('govern', order)).rejects.toMatchObject({ code })
    await run.cancel()
  })

  test('comes from a principal that may not govern the run', async () => {
    const model = endless()
    await using served = await testServer(
      { agent: agent({ model }) },
      { authorize: (principal, action) => action !== 'govern' || principal.id === 'bob' },
    )
    await using client = await served.client({ auth: 'alice' })
    client.start(1, 'agent', 'go')
    await client.next('opened')
    client.send({ kind: 'input', sid: 1, mid: 'm', type: 'govern', data: { paused: true } })
    expect(await client.next('notice')).toMatchObject({ code: 'forbidden', ref: { sid: 1, detail: 'm' } })
  })

  test('is seen by an actor of your own, which may wait with other work too', async () => {
    const [begun, release] = [latch(), latch()]
    const seen: boolean[] = []
    const mine = actor({
      async *stream(_: unknown, context) {
        seen.push(context.paused)
        await context.resumed()
        begun.open()
        await release.opened
        seen.push(context.paused)
        yield 'waits '
        await context.resumed()
        seen.push(context.paused)
        yield 'goes on'
      },
    })
    await using served = await testServer({ mine })
    await using client = await served.client()
    client.start(1, 'mine')
    await begun.opened
    client.send({ kind: 'input', sid: 1, mid: 'm', type: 'govern', data: { paused: true } })
    await client.next('input_ack')
    release.open()
    await client.until(() => client.text(1) === 'waits ')
    client.send({ kind: 'input', sid: 1, mid: 'n', type: 'govern', data: { paused: false } })
    await client.next('end')
    expect([client.text(1), seen]).toEqual(['waits goes on', [false, true, false]])
  })

  test('ends the wait of an actor of your own with the run', async () => {
    const [begun, over] = [latch(), latch()]
    let thrown: unknown
    const mine = actor({
      async *stream(_: unknown, context) {
        yield 'begun'
        begun.open()
        while (!context.paused) await new Promise((resolve) => setImmediate(resolve))
        await context.resumed().catch((error: unknown) => (thrown = error))
        over.open()
      },
    })
    await using served = await testServer({ mine })
    await using client = await served.client()
    client.start(1, 'mine')
    await begun.opened
    client.send({ kind: 'input', sid: 1, mid: 'm', type: 'govern', data: { paused: true } })
    await client.next('input_ack')
    client.send({ kind: 'cancel', sid: 1 })
    expect(await client.next('end')).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
    await over.opened
    expect(thrown).toMatchObject({ code: 'cancelled' })
  })

  test('is for actors of your own too: their requests to models wait', async () => {
    const asked: number[] = []
    const model = scriptedModel((request) => (asked.push(request.messages.length), says('hi')))
    const begun = latch()
    const release = latch()
    const mine = actor({
      async *stream(_: unknown, context) {
        begun.open()
        await release.opened
        yield* context.model(model).text('hello')
      },
    })
    await using served = await testServer({ mine })
    await using client = await served.client()
    client.start(1, 'mine')
    await begun.opened
    client.send({ kind: 'input', sid: 1, mid: 'm', type: 'govern', data: { paused: true } })
    expect(await client.next('input_ack')).toMatchObject({ status: 'accepted' })
    release.open()
    await client.settle()
    expect(asked).toEqual([])
    client.send({ kind: 'input', sid: 1, mid: 'n', type: 'govern', data: { paused: false } })
    await client.next('end')
    expect(client.text(1)).toBe('hi')
  })
})

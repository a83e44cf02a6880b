import { describe, expect, test } from 'vitest'
import type { StartOptions, UpFrame } from '../../protocol/frames.ts'
import {
  type AgentDefinition,
  actor,
  agent,
  agentTool,
  type ModelEvent,
  type ModelRequest,
} from '../../server/index.ts'
import { handClock } from '../helpers/hand-clock.ts'
import { calls, says, scriptedModel } from '../helpers/scripted-model.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { aborted, latch } from '../helpers/test-actors.ts'
import type { WireClient } from '../helpers/wire-client.ts'

let sent = 0
const order = (data: unknown, sid = 1): Extract<UpFrame, { kind: 'input' }> => ({
  kind: 'input',
  sid,
  mid: `o${++sent}`,
  type: 'govern',
  data,
})

async function answered(client: WireClient, data: unknown) {
  const frame = order(data)
  client.send(frame)
  return await client.find(
    (one) =>
      (one.kind === 'input_ack' && one.mid === frame.mid) || (one.kind === 'notice' && one.ref?.detail === frame.mid),
  )
}

/** A model that is asked and says nothing until it is stopped. */
function mute() {
  const asked = latch()
  const model = scriptedModel(async function* ({ signal }: ModelRequest) {
    asked.open()
    await aborted(signal)
    signal.throwIfAborted()
    yield { type: 'text', text: '' }
  })
  return { asked, model }
}

/** A run on a server whose time stands still. */
/** How long a run may wait for people, here. It is longer than any time that a test lets pass otherwise. */
const MAX_WAIT_MS = 300_000

async function run(definition: AgentDefinition, startOptions: StartOptions = {}) {
  const clock = handClock()
  const served = await testServer(
    { agent: agent(definition) },
    { runtime: clock, limits: { heartbeatMs: 1_000_000, maxWaitMs: MAX_WAIT_MS } },
  )
  const connect = served.client
  const client = await served.client()
  client.start(1, 'agent', 'go', startOptions)
  await client.next('opened', 1)
  return Object.assign(served, { clock, connect, client })
}

describe('an order to a run', () => {
  test.each([
    { budget: { tokens: -1 } },
    { budget: { tokens: Number.NaN } },
    { budget: { ms: Number.POSITIVE_INFINITY } },
    { budget: { cost: '1' } },
    { budget: { dollars: 1 } },
    { budget: 5 },
    { perSec: 0 },
    { perSec: -1 },
    { perSec: Number.NaN },
    { paused: 'yes' },
    { paused: null },
    { agent: 1, paused: true },
    { paused: true, more: 1 },
    [],
    null,
  ])('that makes no sense changes nothing: %j', async (data) => {
    const { asked, model } = mute()
    await using served = await run({ model })
    await asked.opened
    expect(await answered(served.client, data)).toMatchObject({ status: 'invalid' })
    served.clock.advance(60_000)
    await served.client.settle()
    expect(served.client.frames.some(({ kind }) => kind === 'end')).toBe(false)
  })

  test.each([{ tokens: 0 }, { cost: 0 }, { ms: 0 }])('that allows it nothing ends it at once: %j', async (budget) => {
    const { asked, model } = mute()
    await using served = await run({ model })
    await asked.opened
    served.client.send(order({ budget }))
    served.clock.advance(0)
    const end = served.client.next('end', 1)
    const ticking = setInterval(() => served.clock.advance(1), 1)
    expect(await end).toMatchObject({ outcome: 'error', data: { code: 'budget_exceeded' } })
    clearInterval(ticking)
  })

  test('of somebody who only observes is refused', async () => {
    const { asked, model } = mute()
    await using served = await run({ model })
    await asked.opened
    await using eve = await served.connect({ auth: 'eve' })
    eve.attach(1, (served.client.frames.find(({ kind }) => kind === 'opened') as { run: string }).run, 0)
    await eve.next('opened', 1)
    expect(await answered(eve, { paused: true })).toMatchObject({ kind: 'notice', code: 'forbidden' })
  })
})

describe('a low rate', () => {
  test('that is raised or lifted lets the answer go on at once', async () => {
    for (const perSec of [null, 1_000]) {
      const words = ['a', 'b', 'c', 'd', 'e', 'f'].map((text): ModelEvent => ({ type: 'text', text }))
      const model = scriptedModel([...words, ...says('.')])
      const held = latch()
      await using served = await run({
        model: { ...model, stream: (request) => slowly(model.stream(request), held.opened) },
      })
      await served.client.until(() => served.client.text(1) === 'a')
      expect(await answered(served.client, { perSec: 1e-9 })).toMatchObject({ status: 'accepted' })
      held.open()
      await served.client.until(() => served.client.text(1).length >= 2)
      await served.client.settle()
      expect(await answered(served.client, { perSec })).toMatchObject({ status: 'accepted' })
      const end = served.client.next('end', 1)
      const ticking = setInterval(() => served.clock.advance(1), 1)
      expect(await end).toMatchObject({ outcome: 'done' })
      clearInterval(ticking)
    }
  })
})

/** The first event at once, the others once `go` resolves. */
async function* slowly<T>(events: AsyncIterable<T>, go: Promise<void>): AsyncGenerator<T> {
  for await (const event of events) {
    yield event
    await go
  }
}

describe('a flood of pauses and resumptions', () => {
  test('of a client that does not read is held back, and does not end the run', async () => {
    const go = latch()
    const chatty = actor({
      interactive: true,
      async *stream() {
        yield 'a'
        await go.opened
        yield 'b'
      },
    })
    await using served = await testServer({ chatty }, { limits: { messagesPerSec: 1_000_000 } })
    await using client = await served.client()
    client.start(1, 'chatty', null, { credit: 0 })
    await client.next('opened', 1)
    await client.settle()
    for (let n = 0; n < 100; n++) {
      client.send(...Array.from({ length: 100 }, (_, i) => order({ paused: (n + i) % 2 === 0 })))
      await client.settle()
    }
    const answers = client.frames.flatMap((frame) => (frame.kind === 'input_ack' ? [frame.status] : []))
    expect(answers).toHaveLength(10_000)
    const statuses = new Set(answers)
    expect(statuses).toEqual(new Set(['accepted', 'busy']))
    go.open()
    client.send({ kind: 'credit', sid: 1, n: 100_000 })
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'done' })
    expect(client.text(1)).toBe('ab')
  })

  test('in one message with a cancel stops the run, whatever comes first', async () => {
    for (const isFirst of [true, false]) {
      const { asked, model } = mute()
      await using served = await run({ model })
      await asked.opened
      const cancel = { kind: 'cancel', sid: 1 } as const
      await answered(served.client, { paused: true })
      const resume = order({ paused: false })
      served.client.send(...(isFirst ? [cancel, resume] : [resume, cancel]))
      expect(await served.client.next('end', 1)).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
      expect(model.asked).toHaveLength(1)
      served.client.send(order({ paused: true }))
      await served.client.settle()
      expect(served.server.liveRuns).toBe(0)
    }
  })
})

describe('a paused run', () => {
  test.each([
    ['continue', { onDetach: 'continue', timeoutMs: 5_000 }, MAX_WAIT_MS, 'timeout'],
    ['pause', { onDetach: 'pause', detachMs: 5_000 }, MAX_WAIT_MS, 'timeout'],
    ['cancel', { onDetach: 'cancel', detachMs: 5_000 }, 6_000, 'cancelled'],
  ] as const)('that nobody reads any more does not stay for ever: %s', async (_, options, ms, how) => {
    const { asked, model } = mute()
    await using served = await run({ model }, options)
    await asked.opened
    await answered(served.client, { paused: true })
    served.clock.advance(50_000)
    await served.client.settle()
    expect(served.server.liveRuns).toBe(1)
    const { run: id } = served.client.frames.find(({ kind }) => kind === 'opened') as { run: string }
    served.client.cut()
    await served.client.closed
    await using second = await served.connect()
    await second.settle()
    served.clock.advance(ms - 1_000)
    if (ms === MAX_WAIT_MS) expect(served.server.liveRuns).toBe(1)
    served.clock.advance(1_000)
    await eventually(() => served.server.liveRuns === 0, 'it has ended')
    second.attach(1, id, 0)
    const { outcome, data } = await second.next('end', 1)
    expect(how === 'cancelled' ? outcome : (data as { code: string }).code).toBe(how)
  })

  test('below another does not stay either, and an order to a child that is stopping leaves no timer', async () => {
    const stuck = latch()
    const child = actor({
      interactive: true,
      async *stream(_: unknown, { signal }) {
        yield 'a'
        await aborted(signal)
        await stuck.opened
      },
    })
    const args = { prompt: 'go' }
    const model = scriptedModel(calls({ call: '1', name: 'one', args }), mute().model.stream as never)
    await using served = await run({ model, tools: { one: agentTool(child, { description: 'x' }) } })
    const { client, clock } = served
    const started = () =>
      client.items(1).find(({ data }) => (data as { agent?: string } | undefined)?.agent !== undefined)
    await client.until(() => started() !== undefined)
    const { agent: id } = started()!.data as { agent: string }
    client.send({ kind: 'cancel', sid: 1, target: { type: 'agent', id } })
    expect(await answered(client, { agent: id, budget: { tokens: 1_000 } })).toMatchObject({ status: 'unwanted' })
    stuck.open()
    client.send({ kind: 'cancel', sid: 1 })
    await client.next('end', 1)
    await eventually(() => served.server.liveRuns === 0, 'it has settled')
    const before = clock.timers
    clock.advance(10_000)
    expect(clock.timers).toBeLessThanOrEqual(before)
  })
})

import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import { type ActorContext, actor } from '../../../server/actors/actor.ts'
import { tool } from '../../../server/actors/tool.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { aborted, counter, latch, silent } from '../../helpers/test-actors.ts'

/** Ignores its signal until the test lets it go. */
function stubborn() {
  const release = latch()
  const made = actor({
    async *stream() {
      yield 'x'
      await release.opened
    },
  })
  return { stubborn: made, release: release.open }
}

describe('a cancel', () => {
  test('in the message of the start stops the run before it has begun', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.send(
      { kind: 'start', sid: 1, actor: 'count', input: 1_000, options: {} },
      { kind: 'cancel', sid: 1, code: 3, note: 'left' },
    )
    await client.next('opened')
    const end = await client.next('end')
    expect(end).toMatchObject({
      seq: 1,
      outcome: 'cancelled',
      data: { code: 3, by: 'client', note: 'left', settled: true, unsettled: [], provider: 'none', tools: [], kept: 0 },
    })
    expect(typeof end.data['ms']).toBe('number')
    expect(count.runs).toHaveLength(0)
    expect(served.server.liveRuns).toBe(0)
  })

  test('stops the run also where the application has frozen what is built in, as `node --frozen-intrinsics` does', async () => {
    await using served = await testServer({ silent: silent() })
    await using client = await served.client()
    client.start(1, 'silent')
    await client.next('opened')
    const usual = Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit')!
    Object.defineProperty(Error, 'stackTraceLimit', { ...usual, writable: false })
    try {
      client.send({ kind: 'cancel', sid: 1 })
      expect(await client.next('end')).toMatchObject({ outcome: 'cancelled', data: { by: 'client', settled: true } })
    } finally {
      Object.defineProperty(Error, 'stackTraceLimit', usual)
    }
  })

  test('gives each signal an error of its own, in one message and in several', async () => {
    const reasons: unknown[] = []
    const noting = actor({
      async *stream(_: unknown, { signal }) {
        yield 'x'
        signal.addEventListener('abort', () => reasons.push(signal.reason))
        await aborted(signal)
      },
    })
    await using served = await testServer({ noting })
    await using client = await served.client()
    for (let sid = 1; sid <= 6; sid++) client.start(sid, 'noting')
    await eventually(() => client.count(6) === 1, 'all run')
    client.send({ kind: 'cancel', sid: 1 }, { kind: 'cancel', sid: 2 }, { kind: 'cancel', sid: 3, note: 'left' })
    await client.next('end')
    await client.next('end')
    await client.next('end')
    for (let sid = 4; sid <= 6; sid++) {
      client.send({ kind: 'cancel', sid })
      await client.next('end')
    }
    expect(reasons.map((reason) => (MillraceError.is(reason, 'cancelled') ? reason.message : reason))).toEqual(
      [1, 2, 3, 4, 5, 6].map((sid) => (sid === 3 ? 'cancelled by the client: left' : 'cancelled by the client')),
    )
    expect(new Set(reasons).size).toBe(6)
  })

  test('stops the run while its schema still looks at the input', async () => {
    const slow = actor({
      input: {
        '~standard': { version: 1, vendor: 'test', validate: () => new Promise<{ value: unknown }>(() => {}) },
      },
      async *stream() {
        yield 'never'
      },
    })
    await using served = await testServer({ slow })
    await using client = await served.client()
    client.start(1, 'slow')
    await client.next('opened')
    client.send({ kind: 'cancel', sid: 1 })
    expect(await client.next('end')).toMatchObject({ seq: 1, outcome: 'cancelled', data: { settled: true, kept: 0 } })
    expect(served.server.liveRuns).toBe(0)
  })

  test('drops the unsent items, also those that are batched', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client({ flushMs: 1_000 })
    client.start(1, 'count', 10)
    await client.next('opened')
    const seen = client.count(1)
    client.start(2, 'count', 1_000_000, { credit: 100 })
    await client.next('opened', 2)
    client.send({ kind: 'cancel', sid: 2 })
    const end = await client.next('end', 2)
    expect(end.outcome).toBe('cancelled')
    expect(client.count(2)).toBeLessThanOrEqual(100)
    expect(client.frames.indexOf(end)).toBe(client.frames.findLastIndex((frame) => 'sid' in frame && frame.sid === 2))
    expect(seen).toBeLessThanOrEqual(10)
  })

  test('that comes twice, or after the end, changes nothing', async () => {
    const { stubborn: actorOfIt, release } = stubborn()
    await using served = await testServer({ stubborn: actorOfIt })
    await using client = await served.client()
    client.start(1, 'stubborn')
    await client.next('opened')
    client.send({ kind: 'cancel', sid: 1, code: 1 }, { kind: 'cancel', sid: 1, code: 2, note: 'again' })
    await client.settle()
    client.send({ kind: 'cancel', sid: 1, code: 4 })
    release()
    const end = await client.next('end')
    expect(end).toMatchObject({ outcome: 'cancelled', data: { code: 1, settled: true } })
    expect(end.data).not.toHaveProperty('note')
    client.send({ kind: 'cancel', sid: 1 }, { kind: 'cancel', sid: 77 })
    await client.settle()
    expect(client.frames.filter(({ kind }) => kind === 'end')).toHaveLength(1)
  })

  test('that comes after the run is done loses, and its stream ends at once with the end of the run', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.start(1, 'count', 20, { credit: 5 })
    await client.next('notice')
    client.send({ kind: 'cancel', sid: 1 })
    expect(await client.next('end')).toMatchObject({ seq: 21, outcome: 'done' })
    expect(client.count(1)).toBe(5)
  })

  test('from another subscription stops it, and only the one that cancelled skips its unsent items', async () => {
    const talk = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        for (let n = 1; n <= 30; n++) yield `${n} `
        await aborted(signal)
      },
    })
    await using served = await testServer({ talk })
    await using starter = await served.client()
    await using other = await served.client()
    starter.start(1, 'talk', null, { credit: 10 })
    const { run } = await starter.next('opened')
    await starter.until(() => starter.count(1) === 10)
    other.attach(1, run, 0, { credit: 4 })
    await other.until(() => other.count(1) === 4)
    other.send({ kind: 'cancel', sid: 1, code: 2 })
    expect(await other.next('end')).toMatchObject({ seq: 31, outcome: 'cancelled', data: { code: 2, kept: 30 } })
    expect(other.count(1)).toBe(4)
    expect(await starter.next('notice')).toMatchObject({ code: 'settled', ref: { detail: 2 } })
    starter.send({ kind: 'credit', sid: 1, n: 100 })
    expect(await starter.next('end')).toMatchObject({ seq: 31, outcome: 'cancelled' })
    expect(starter.count(1)).toBe(30)
  })

  test('of a run without readers reaches it through a new subscription, in one message', async () => {
    await using served = await testServer({ silent: silent() })
    await using first = await served.client()
    first.start(1, 'silent')
    const { run } = await first.next('opened')
    first.send({ kind: 'detach', sid: 1 })
    await first.settle()
    first.cut()
    await using second = await served.client({
      with: [
        { kind: 'attach', sid: 1, run, after: 0, options: { gen: 1 } },
        { kind: 'cancel', sid: 1, code: 1 },
      ],
    })
    expect(await second.next('end')).toMatchObject({ outcome: 'cancelled', data: { code: 1 } })
  })

  test('of an unknown target is answered, and the run goes on', async () => {
    await using served = await testServer({ silent: silent() })
    await using client = await served.client()
    client.start(1, 'silent')
    client.send({ kind: 'cancel', sid: 1, target: { type: 'call', id: 'c1' } })
    expect(await client.next('notice')).toMatchObject({
      code: 'not_found',
      ref: { tag: 5, sid: 1, detail: ['call', 'c1'] },
    })
    expect(served.server.liveRuns).toBe(1)
  })

  test('of more tool calls than a receipt holds is one receipt all the same, and names as many as fit', async () => {
    const hang = tool({ description: 'Hangs', run: (_, { signal }) => aborted(signal) })
    const ids = Array.from({ length: 90 }, (_, n) => `${n} ${'x'.repeat(100)}`)
    const busy = actor({
      async *stream(_: unknown, { tools, signal }: ActorContext) {
        const { call } = tools({ hang })
        for (const id of ids) void call({ call: id, name: 'hang', args: {} })
        await aborted(signal)
        yield* []
      },
    })
    await using served = await testServer({ busy }, { limits: { maxEvent: 8_192 } })
    await using client = await served.client()
    client.start(1, 'busy')
    await client.until(() => client.count(1) === ids.length)
    client.send({ kind: 'cancel', sid: 1 })
    const { outcome, data } = await client.next('end')
    expect({ outcome, settled: data['settled'] }).toEqual({ outcome: 'cancelled', settled: true })
    const { length } = data['tools'] as string[]
    expect(length).toBeGreaterThan(15)
    expect(data['tools']).toEqual(ids.slice(0, length))
  })

  test('aborts the signal although the client reads nothing any more', async () => {
    const flood = counter()
    await using served = await testServer({ flood, silent: silent() })
    await using client = await served.client({ pong: false })
    client.start(1, 'flood', 1_000_000, { credit: 1_900 })
    await client.until(() => client.count(1) > 100)
    client.socket.pause()
    client.send({ kind: 'cancel', sid: 1 })
    await eventually(() => flood.runs[0]?.aborted === true, 'the signal')
    await eventually(() => served.server.liveRuns === 0, 'the slot')
    client.socket.resume()
    expect(await client.next('end')).toMatchObject({ outcome: 'cancelled' })
  })
})

describe('an actor that ignores its signal', () => {
  test('ends for the client when the grace is over, and keeps its slot until it has finished', async () => {
    const runtime = handClock()
    const { stubborn: deaf, release } = stubborn()
    await using served = await testServer({ deaf }, { runtime, limits: { cancelGraceMs: 1_000, maxRuns: 1 } })
    await using client = await served.client()
    client.start(1, 'deaf')
    await client.until(() => client.count(1) === 1)
    client.send({ kind: 'cancel', sid: 1, code: 1 })
    await client.settle()
    runtime.advance(999)
    await client.settle()
    expect(client.frames.some(({ kind }) => kind === 'end')).toBe(false)
    runtime.advance(1)
    expect(await client.next('end')).toMatchObject({
      outcome: 'cancelled',
      data: { settled: false, unsettled: ['actor'], kept: 1, ms: 1_000 },
    })
    expect(served.server.liveRuns).toBe(1)
    client.start(2, 'deaf')
    expect(await client.next('end', 2)).toMatchObject({ seq: 0, outcome: 'error', data: { code: 'overloaded' } })
    release()
    await eventually(() => served.server.liveRuns === 0, 'the slot is free')
    client.start(3, 'deaf')
    expect((await client.next('opened', 3)).next).toBe(1)
    await client.next('end', 3)
  })

  test('and throws while it is stopped does not change its end, and is reported', async () => {
    const angry = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        yield 'x'
        await aborted(signal)
        throw new Error('not like this')
      },
    })
    const cleansUp = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        try {
          yield 'x'
          await aborted(signal)
        } finally {
          // biome-ignore lint/correctness/noUnsafeFinally: that is the case
          throw new Error('not like this')
        }
      },
    })
    await using served = await testServer({ angry, cleansUp })
    await using client = await served.client()
    for (const [sid, name] of [
      [1, 'angry'],
      [2, 'cleansUp'],
    ] as const) {
      client.start(sid, name)
      await client.until(() => client.count(sid) === 1)
      client.send({ kind: 'cancel', sid })
      expect(await client.next('end', sid)).toMatchObject({ outcome: 'cancelled', data: { settled: true } })
    }
    await eventually(() => served.server.liveRuns === 0, 'the slots are free')
    expect(served.errors).toEqual([new Error('not like this'), new Error('not like this')])
  })

  test('leaves no request of its own open', async () => {
    const asks = actor({
      async *stream(_: unknown, { request, signal }: ActorContext) {
        void request({ kind: 'text' })
        yield 'x'
        await aborted(signal)
      },
    })
    const asksAndEnds = actor({
      async *stream(_: unknown, { request }: ActorContext) {
        void request({ kind: 'text' })
        yield 'x'
      },
    })
    await using served = await testServer({ asks, asksAndEnds })
    await using client = await served.client()
    client.start(1, 'asks')
    await client.until(() => client.count(1) === 2)
    client.send({ kind: 'cancel', sid: 1 })
    expect(await client.next('end', 1)).toMatchObject({ outcome: 'cancelled' })
    client.start(2, 'asksAndEnds')
    expect(await client.next('end', 2)).toMatchObject({ outcome: 'done' })
  })
})

describe('many starts and cancels', () => {
  test('leave no slot taken', async () => {
    await using served = await testServer(
      { silent: silent() },
      { limits: { startsPerSec: 100_000, startBurst: 100_000, maxStreams: 300 } },
    )
    await using client = await served.client()
    for (let sid = 1; sid <= 200; sid++) {
      client.send({ kind: 'start', sid, actor: 'silent', input: null, options: {} }, { kind: 'cancel', sid, code: 1 })
    }
    for (let sid = 1; sid <= 200; sid++) expect((await client.next('end', sid)).outcome).toBe('cancelled')
    expect(served.server.liveRuns).toBe(0)
  })
})

import { describe, expect, test } from 'vitest'
import { type ActorContext, actor } from '../../../server/actors/actor.ts'
import { textOf } from '../../helpers/frame-items.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { aborted, counter, latch, silent } from '../../helpers/test-actors.ts'

const KILOBYTE = 'x'.repeat(1_000)

function flood() {
  return actor({
    async *stream() {
      for (;;) yield KILOBYTE
    },
  })
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all + size, 0)
}

describe('a peer', () => {
  test('that is silent is sent a PING, and given up when the times for heartbeat and answer have passed, not before', async () => {
    const runtime = handClock()
    await using served = await testServer(
      { silent: silent() },
      { runtime, limits: { heartbeatMs: 10_000, pongMs: 10_000 } },
    )
    await using client = await served.client({ pong: false })
    await client.settle()
    runtime.advance(4_000)
    await client.settle()
    runtime.advance(10_000)
    await client.next('ping')
    runtime.advance(9_999)
    expect(served.server.connections).toBe(1)
    runtime.advance(1)
    expect(served.server.connections).toBe(0)
    expect(await client.closed).toBe(1006)
  })

  test('that answers is kept', async () => {
    const runtime = handClock()
    await using served = await testServer({ silent: silent() }, { runtime })
    await using client = await served.client()
    for (let n = 0; n < 20; n++) {
      runtime.advance(10_000)
      await client.next('ping')
      await client.settle()
    }
    expect(served.server.connections).toBe(1)
  })

  test('is not blamed for a server that stood still', async () => {
    const runtime = handClock()
    await using served = await testServer({ silent: silent() }, { runtime })
    await using client = await served.client({ pong: false })
    runtime.stall(60_000)
    await client.settle()
    expect(served.server.connections).toBe(1)
  })

  test('that sends PINGs in many messages is answered for the last of each', async () => {
    await using served = await testServer({ silent: silent() })
    await using client = await served.client()
    client.send({ kind: 'ping', nonce: 1 }, { kind: 'ping', nonce: 2 }, { kind: 'ping', nonce: 3 })
    expect((await client.next('pong')).nonce).toBe(3)
    client.send({ kind: 'ping', nonce: 4 })
    expect((await client.next('pong')).nonce).toBe(4)
  })

  test('that is refused often gets five notices a second at most', async () => {
    const runtime = handClock()
    await using served = await testServer({ silent: silent() }, { runtime })
    await using client = await served.client()
    client.start(1, 'silent')
    for (let n = 0; n < 12; n++) client.send({ kind: 'cancel', sid: 1, target: { type: 'call', id: `c${n}` } })
    const notices = (): number => client.frames.filter(({ kind }) => kind === 'notice').length
    await client.settle()
    expect(notices()).toBe(5)
    runtime.advance(1_000)
    await client.settle()
    expect(notices()).toBe(10)
    runtime.advance(1_000)
    await client.settle()
    expect(notices()).toBe(12)
  })
})

describe('the network', () => {
  test('is measured with a PING each 128 KiB, and waited for when it holds more than `inflight`', async () => {
    const limits = { inflight: 200_000, slowMs: 30_000 }
    const runtime = handClock()
    await using served = await testServer({ flood: flood() }, { limits, runtime })
    await using client = await served.client({ pong: false })
    client.start(1, 'flood', null, { credit: 1_900 })
    await client.until(() => sum(client.sizes) > 200_000)
    await client.settle()
    const most = Math.max(...client.sizes)
    expect(sum(client.sizes)).toBeLessThanOrEqual(200_000 + most)
    expect(client.count(1)).toBeLessThan(1_900)
    // Control frames go on.
    client.start(2, 'nobody')
    expect((await client.next('end', 2)).seq).toBe(0)
    const ping = await client.next('ping')
    client.send({ kind: 'pong', nonce: ping.nonce })
    await client.until(() => sum(client.sizes) > 300_000)
  })

  test('is credited with no more than was sent when a heartbeat is answered', async () => {
    const limits = { inflight: 200_000, heartbeatMs: 1_000, pongMs: 100_000 }
    const runtime = handClock()
    await using served = await testServer({ flood: flood() }, { limits, runtime })
    await using client = await served.client({ pong: false })
    client.start(1, 'flood', null, { credit: 1_900 })
    // With the message that passes the limit the streams stop: it is the last thing that was written.
    await client.until(() => sum(client.sizes) > 200_000)
    const pings = (): number[] => client.frames.flatMap((frame) => (frame.kind === 'ping' ? [frame.nonce] : []))
    const before = pings().length
    runtime.advance(1_000)
    await client.until(() => pings().length > before)
    const flooded = (): number[] =>
      client.sizes.filter((_, i) => client.messages[i]?.some(({ kind }) => kind === 'delta'))
    const sent = flooded().length
    client.send({ kind: 'pong', nonce: pings().at(-1) ?? 0 })
    await client.until(() => sum(flooded().slice(sent)) > 200_000)
    await client.settle()
    // Until the last message there was room for one more.
    expect(sum(flooded().slice(sent, -1))).toBeLessThanOrEqual(200_000)
  })

  test('that stays full for too long ends the connection with 4430, and the client resumes', async () => {
    const runtime = handClock()
    const count = counter()
    const limits = { inflight: 3_000, slowMs: 5_000, heartbeatMs: 1_000_000 }
    await using served = await testServer({ count }, { limits, runtime })
    await using client = await served.client({ pong: false })
    client.start(1, 'count', 1_900, { credit: 1_900 })
    const { run } = await client.next('opened')
    await client.until(() => sum(client.sizes) > 3_000)
    await client.settle()
    runtime.advance(4_999)
    await client.settle()
    runtime.advance(1)
    expect(await client.closed).toBe(4430)
    const have = client.count(1)
    await using back = await served.client({
      client: client.client,
      attempt: 2,
      with: [{ kind: 'attach', sid: 1, run, after: have, options: { gen: 1, credit: 1_900, policy: 'pace' } }],
    })
    await back.next('end')
    expect(client.count(1) + back.count(1)).toBe(1_900)
    expect(back.items(1)[0]?.seq).toBe(have + 1)
  })

  test('that has full buffers and moves no more ends the connection with 4430', async () => {
    await using served = await testServer({ flood: flood() }, { limits: { inflight: 100_000_000, slowMs: 100 } })
    await using client = await served.client({ pong: false })
    for (let sid = 1; sid <= 16; sid++) client.start(sid, 'flood', null, { credit: 1_900 })
    await client.until(() => client.count(1) > 0)
    client.socket.pause()
    await eventually(() => served.server.connections === 0, 'the end of the connection')
    client.socket.resume()
    await client.closed
  })
})

describe('a message', () => {
  test('never holds more than maxDown, and every stream gets its share', async () => {
    const large = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        for (let n = 0; n < 12; n++) yield { type: 'data' as const, name: 'x', value: 'y'.repeat(60_000) }
        await aborted(signal)
      },
    })
    const limits = { maxDown: 70_000 }
    await using served = await testServer({ large, flood: flood() }, { limits })
    await using client = await served.client()
    client.start(1, 'flood', null, { credit: 1_900 })
    client.start(2, 'large', null, { credit: 1_900 })
    client.start(3, 'flood', null, { credit: 300 })
    await client.until(() => client.count(1) === 1_900 && client.count(2) === 12 && client.count(3) === 300)
    expect(Math.max(...client.sizes)).toBeLessThanOrEqual(70_000)
    // The third had all of its 300 before the first had all of its 1,900.
    const last = (sid: number): number =>
      client.messages.findLastIndex((message) => message.some((frame) => 'sid' in frame && frame.sid === sid))
    expect(last(3)).toBeLessThan(last(1))
  })

  test('gives a busy stream no more than its share of 16 KiB while another has something to send', async () => {
    const count = counter()
    await using served = await testServer({ count, flood: flood() })
    await using client = await served.client()
    client.start(1, 'flood', null, { credit: 1_900 })
    client.start(2, 'count', 10_000, { credit: 1_900, policy: 'log' })
    const { run: much } = await client.next('opened', 1)
    const { run: little } = await client.next('opened', 2)
    await client.until(() => client.count(1) === 1_900 && client.count(2) === 1_900)
    // All of it waits in the logs when it is asked for again.
    await using reader = await served.client()
    reader.send(
      { kind: 'attach', sid: 1, run: much, after: 0, options: { credit: 1_900 } },
      { kind: 'attach', sid: 2, run: little, after: 0, options: { credit: 1_900 } },
    )
    await reader.until(() => reader.count(1) === 1_900 && reader.count(2) === 1_900)
    let waiting = 0
    let longest = 0
    for (const frame of reader.frames) {
      if (frame.kind !== 'delta') continue
      if (frame.sid === 1) waiting += textOf(frame).length
      else {
        longest = Math.max(longest, waiting)
        waiting = 0
      }
    }
    expect(longest).toBeGreaterThan(0)
    // A share ends with the item that fills it.
    expect(longest).toBeLessThan(16_384 + 1_024)
  })

  test('holds the tokens of one loop turn together', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.start(1, 'count', 1_500, { credit: 1_900 })
    await client.next('end')
    expect(client.messages.length).toBeLessThan(300)
  })

  test('leaves at once for the first text after quiet and for an event, and is batched otherwise', async () => {
    const runtime = handClock()
    const go = [latch(), latch(), latch()]
    const talk = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        await go[0]?.opened
        yield 'first'
        await go[1]?.opened
        yield 'second'
        await go[2]?.opened
        yield { type: 'progress' as const, current: 1 }
        await aborted(signal)
      },
    })
    await using served = await testServer({ talk }, { runtime, limits: { heartbeatMs: 1_000_000 } })
    await using client = await served.client({ flushMs: 50 })
    client.start(1, 'talk')
    await client.next('opened')
    runtime.advance(50)
    go[0]?.open()
    await client.until(() => client.text(1) === 'first')
    go[1]?.open()
    // Nothing is sent meanwhile: an answer would take the text with it.
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(client.text(1)).toBe('first')
    runtime.advance(50)
    await client.until(() => client.text(1) === 'firstsecond')
    go[2]?.open()
    await client.until(() => client.count(1) === 3)
  })

  test('has a frame for a text that comes after a rest, and one for all that follow it closely', async () => {
    const runtime = handClock()
    const go = [latch(), latch()]
    const talk = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        await go[0]?.opened
        yield 'first'
        await go[1]?.opened
        for (const text of ['a', 'b', 'c', 'd']) {
          yield text
          await Promise.resolve()
        }
        await aborted(signal)
      },
    })
    await using served = await testServer({ talk }, { runtime, limits: { heartbeatMs: 1_000_000 } })
    await using client = await served.client({ flushMs: 50 })
    client.start(1, 'talk')
    await client.next('opened')
    go[0]?.open()
    await client.until(() => client.text(1) === 'first')
    runtime.advance(51)
    go[1]?.open()
    await client.until(() => client.text(1) === 'firstabcd')
    const bodies = client.frames.flatMap((frame) => (frame.kind === 'delta' ? [frame.body] : []))
    expect(bodies).toEqual(['first', 'a', ['b', 'c', 'd']])
  })

  test('has a notice behind the text that was logged before it, also where that was written at once', async () => {
    const runtime = handClock()
    const [go, asked] = [latch(), latch()]
    const talk = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        yield 'first'
        await go.opened
        yield 'second'
        // It is asked for more once that is logged.
        asked.open()
        await aborted(signal)
      },
    })
    await using served = await testServer({ talk }, { runtime, limits: { heartbeatMs: 1_000_000 } })
    await using client = await served.client({ flushMs: 50 })
    client.start(1, 'talk')
    await client.until(() => client.text(1) === 'first')
    runtime.advance(100)
    client.send({ kind: 'ping', nonce: 7 })
    await client.next('pong')
    runtime.advance(1)
    go.open()
    await asked.opened
    client.send({ kind: 'cancel', sid: 1, target: { type: 'call', id: 'nobody' } })
    await client.next('notice')
    expect(client.text(1)).toBe('firstsecond')
  })

  test('is sent at once for the first text of a stream, whatever was sent just before', async () => {
    const runtime = handClock()
    const go = [latch(), latch()]
    const talk = actor({
      async *stream(_: unknown, { signal }: ActorContext) {
        await go[0]?.opened
        yield 'first'
        await go[1]?.opened
        yield 'second'
        await aborted(signal)
      },
    })
    await using served = await testServer({ talk }, { runtime, limits: { heartbeatMs: 1_000_000 } })
    await using client = await served.client({ flushMs: 50 })
    client.start(1, 'talk')
    client.attach(2, (await client.next('opened')).run, null)
    await client.next('opened', 2)
    go[0]?.open()
    await client.until(() => client.text(1) === 'first' && client.text(2) === 'first')
    go[1]?.open()
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect([client.text(1), client.text(2)]).toEqual(['first', 'first'])
    runtime.advance(50)
    await client.until(() => client.text(1) === 'firstsecond' && client.text(2) === 'firstsecond')
  })

  test('carries OPENED together with the first text of an actor that needs one loop turn for it', async () => {
    const quick = actor({
      async *stream() {
        await new Promise((resolve) => setImmediate(resolve))
        yield 'quick'
      },
    })
    await using served = await testServer({ quick })
    await using client = await served.client()
    const before = client.messages.length
    client.start(1, 'quick')
    await client.next('end')
    expect(client.text(1)).toBe('quick')
    expect(client.messages).toHaveLength(before + 1)
  })

  test('carries WELCOME as well, when START came with HELLO', async () => {
    const quick = actor({
      async *stream() {
        await new Promise((resolve) => setImmediate(resolve))
        yield 'quick'
      },
    })
    await using served = await testServer({ quick })
    const start = { kind: 'start', sid: 1, actor: 'quick', input: null, options: {} } as const
    await using client = await served.client({ with: [start] })
    await client.next('end')
    expect(client.messages[0]?.map(({ kind }) => kind)).toEqual(['welcome', 'opened', 'delta', 'end'])
  })

  test('is not batched when the actor waits for its reader', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: { heartbeatMs: 1_000_000 } })
    await using client = await served.client({ flushMs: 1_000 })
    client.start(1, 'count', 1_000, { credit: 4 })
    await client.until(() => client.count(1) === 4)
    for (let n = 8; n < 100; n += 4) {
      client.send({ kind: 'credit', sid: 1, n: 4 })
      await client.until(() => client.count(1) === n)
    }
  })

  test('is not batched when what the actor emitted waits for its reader', async () => {
    const runtime = handClock()
    const ahead = actor({
      async *stream(_: unknown, { emit, signal }: ActorContext) {
        for (let n = 0; n < 200; n++) emit('x').catch(() => {})
        await aborted(signal)
        yield* []
      },
    })
    await using served = await testServer({ ahead }, { runtime, limits: { heartbeatMs: 1_000_000 } })
    await using client = await served.client({ flushMs: 1_000 })
    client.start(1, 'ahead', null, { credit: 4 })
    await client.until(() => client.count(1) === 4)
    for (let n = 8; n < 100; n += 4) {
      client.send({ kind: 'credit', sid: 1, n: 4 })
      await client.until(() => client.count(1) === n)
    }
  })
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeDown } from '../../../protocol/decode.ts'
import { writeDown } from '../../../protocol/encode.ts'
import type { DownFrame } from '../../../protocol/frames.ts'
import { DEFAULT_LIMITS, type Limits } from '../../../protocol/limits.ts'
import type { Writer } from '../../../protocol/writer.ts'
import { FlushQueue } from '../../../server/connections/flush-queue.ts'
import { type FrameSource, Outbox } from '../../../server/connections/outbox.ts'
import { GuardedRuntime } from '../../../server/runtime.ts'
import type { Socket } from '../../../server/transports/transport.ts'
import { handClock } from '../../helpers/hand-clock.ts'

const SHARE_BYTES = 16_384
/** No header of a DELTA is larger. */
const HEADER_BYTES = 16

/** An outbox whose socket takes what the test lets it take, and whose loop turns pass when the test lets them. */
function outboxByHand(given: Partial<Limits> = {}) {
  const clock = handClock()
  let due: (() => void)[] = []
  const faults: number[] = []
  const messages: DownFrame[][] = []
  const sizes: number[] = []
  const limits = { ...DEFAULT_LIMITS, ...given }
  const socket = {
    bufferedAmount: 0,
    isFull: false,
    send(bytes: Uint8Array) {
      if (socket.isFull) return 'full'
      socket.bufferedAmount += bytes.length
      messages.push(decodeDown(bytes, { maxBytes: limits.maxDown, maxDepth: 16, maxValues: 16_384 }))
      sizes.push(bytes.length)
      return 'sent'
    },
  }
  const runtime = new GuardedRuntime({ ...clock, nextTurn: (callback) => void due.push(callback) }, (error) => {
    throw error
  })
  const outbox = new Outbox(socket as unknown as Socket, runtime, new FlushQueue(runtime), limits, (code) =>
    faults.push(code),
  )
  return {
    outbox,
    socket,
    clock,
    faults,
    messages,
    sizes,
    /** Lets loop turns pass. The network takes `bytes` in each. */
    loopTurns(count: number, bytes = Number.POSITIVE_INFINITY) {
      for (let n = 0; n < count; n++) {
        const callbacks = due
        due = []
        for (const callback of callbacks) callback()
        const held = socket.bufferedAmount
        socket.bufferedAmount = Math.max(0, held - bytes)
        if (held > 0 && socket.bufferedAmount === 0) outbox.drained()
      }
    },
    answerPings() {
      for (const frame of messages.flat()) if (frame.kind === 'ping') outbox.answered(frame.nonce)
    },
  }
}

/** A stream that sends items of the sizes given to `say`, one share at a time. */
class Talker implements FrameSource {
  queued = false
  readonly #sid: number
  readonly #outbox: Outbox
  readonly #items: number[] = []
  #said = 0

  constructor(outbox: Outbox, sid: number) {
    this.#outbox = outbox
    this.#sid = sid
  }

  get said(): number {
    return this.#said
  }

  /** How many items were given to `say`. */
  get due(): number {
    return this.#items.length
  }

  say(bytes: number, urgent = true): void {
    this.#items.push(bytes)
    this.#outbox.ready(this, urgent)
  }

  /** As `say`, but the item is written at once where nothing waits before it and the outbox takes it. */
  write(bytes: number): void {
    const out = this.#said === this.#items.length ? this.#outbox.begun() : undefined
    if (!out) return this.say(bytes, false)
    this.#items.push(bytes)
    this.#writeItem(out, bytes)
  }

  #writeItem(out: Writer, bytes: number): void {
    writeDown(out, { kind: 'delta', sid: this.#sid, seq: ++this.#said, lane: 0, body: 'x'.repeat(bytes) })
  }

  pump(out: Writer, most: number): 'more' | 'idle' {
    const shareEnd = out.length + SHARE_BYTES
    for (let size = this.#items[this.#said]; size !== undefined; size = this.#items[this.#said]) {
      if (out.length >= shareEnd || (out.length > 0 && out.length + size + HEADER_BYTES > most)) return 'more'
      this.#writeItem(out, size)
    }
    return 'idle'
  }
}

describe('an outbox', () => {
  test('does not let a large item wait forever for a stream that always has more', () => {
    const { outbox, loopTurns, sizes } = outboxByHand({ maxDown: 70_000, inflight: 100_000_000 })
    const small = new Talker(outbox, 1)
    const large = new Talker(outbox, 2)
    for (let n = 0; n < 1_000; n++) small.say(1_000)
    for (let n = 0; n < 10; n++) large.say(60_000)
    loopTurns(20)
    expect(large.said).toBe(10)
    expect(small.said).toBeGreaterThan(100)
    expect(Math.max(...sizes)).toBeLessThanOrEqual(70_000)
  })

  test('sends what was written at once in the next message, behind control frames and before the streams', () => {
    const { outbox, clock, loopTurns, messages } = outboxByHand({ flushMs: 6 })
    const talkers = [1, 2].map((sid) => new Talker(outbox, sid))
    talkers[0]?.say(1)
    loopTurns(1)
    talkers[0]?.write(1)
    talkers[1]?.say(1, false)
    talkers[1]?.write(1)
    outbox.send({ kind: 'input_ack', sid: 1, mid: 'm', status: 'busy' })
    expect(talkers.map((talker) => talker.said)).toEqual([2, 0])
    loopTurns(1)
    clock.advance(6)
    expect(
      messages.map((frames) => frames.map((frame) => [frame.kind, 'sid' in frame ? frame.sid : undefined])),
    ).toEqual([
      [['delta', 1]],
      [
        ['input_ack', 1],
        ['delta', 1],
        ['delta', 2],
        ['delta', 2],
      ],
    ])
  })

  test('has nothing written at once while the network holds the streams back, or beyond its bound', () => {
    const { outbox, loopTurns, answerPings, messages } = outboxByHand({ inflight: 5_000 })
    const talker = new Talker(outbox, 1)
    for (let n = 0; n < 40; n++) talker.write(1_000)
    // 4 KiB are begun and the item that passes them is the last.
    expect(talker.said).toBe(5)
    loopTurns(1)
    expect(outbox.begun()).toBeUndefined()
    for (let n = 0; n < 20; n++) {
      answerPings()
      loopTurns(3)
    }
    expect(talker.said).toBe(40)
    expect(messages.flat().filter(({ kind }) => kind === 'delta')).toHaveLength(40)
  })

  test('answers a PING that came while the transport took nothing', () => {
    const { outbox, socket, loopTurns, messages } = outboxByHand()
    socket.isFull = true
    outbox.send({ kind: 'pong', nonce: 1 })
    loopTurns(1)
    outbox.pong(2)
    loopTurns(1)
    socket.isFull = false
    outbox.drained()
    loopTurns(1)
    expect(messages.flat()).toEqual([
      { kind: 'pong', nonce: 1 },
      { kind: 'pong', nonce: 2 },
    ])
  })

  test('asks the network before it waits for it, however little may be in flight', () => {
    const { outbox, loopTurns, answerPings } = outboxByHand({ inflight: 20_000 })
    const talker = new Talker(outbox, 1)
    for (let n = 0; n < 100; n++) talker.say(1_000)
    for (let n = 0; n < 20; n++) {
      loopTurns(5)
      answerPings()
    }
    expect(talker.said).toBe(100)
  })

  test('gives up a peer that is held back for slowMs on end, not one that moves on now and then', () => {
    const { outbox, clock, loopTurns, faults } = outboxByHand({
      inflight: 100_000_000,
      highWater: 250_000,
      slowMs: 30_000,
    })
    const talker = new Talker(outbox, 1)
    for (let n = 0; n < 1_000; n++) talker.say(20_000)
    loopTurns(20, 0)
    for (let n = 0; n < 10; n++) {
      const { said } = talker
      // Its buffer is never empty, so the socket does not report that it drained.
      loopTurns(1, 100_000)
      outbox.ping()
      loopTurns(20, 0)
      expect([talker.said > said, faults]).toEqual([true, []])
      clock.advance(10_000)
    }
    clock.advance(20_000)
    expect(faults).toEqual([4430])
  })

  test('loses nothing, swaps nothing and forgets no stream, whatever the network does and whichever stream sends', () => {
    const move = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.tuple(fc.constant('say'), fc.nat(4), fc.oneof(fc.nat(60), fc.nat(3_000)), fc.boolean()),
      },
      { weight: 1, arbitrary: fc.tuple(fc.constant('say'), fc.nat(4), fc.nat(60_000), fc.boolean()) },
      { weight: 4, arbitrary: fc.tuple(fc.constant('write'), fc.nat(4), fc.oneof(fc.nat(60), fc.nat(1_000))) },
      { weight: 4, arbitrary: fc.tuple(fc.constant('loop turn'), fc.nat(200_000)) },
      { weight: 2, arbitrary: fc.tuple(fc.constant('time'), fc.nat(12)) },
      fc.tuple(fc.constant('acknowledge')),
      fc.tuple(fc.constant('answer')),
      fc.tuple(fc.constant('heartbeat')),
      fc.tuple(fc.constant('full'), fc.boolean()),
    ) as fc.Arbitrary<[string, ...unknown[]]>
    const given = fc.record({
      flushMs: fc.constantFrom(0, 4, 1_000),
      inflight: fc.constantFrom(100, 10_000, 150_000, 524_288),
      highWater: fc.constantFrom(100_000, 262_144),
      maxDown: fc.constantFrom(70_000, 131_072),
    })
    fc.assert(
      fc.property(given, fc.array(move, { maxLength: 80, size: 'max' }), (limits, moves) => {
        const { outbox, socket, clock, loopTurns, messages, sizes, answerPings, faults } = outboxByHand({
          ...limits,
          slowMs: 1e9,
        })
        const talkers = [1, 2, 3, 4, 5].map((sid) => new Talker(outbox, sid))
        let controls = 0
        let pong = 0
        for (const [kind, a, b, c] of moves) {
          if (kind === 'say') talkers[Number(a)]?.say(Number(b), Boolean(c))
          else if (kind === 'write') talkers[Number(a)]?.write(Number(b))
          else if (kind === 'loop turn') loopTurns(1, Number(a))
          else if (kind === 'time') clock.advance(Number(a))
          else if (kind === 'acknowledge')
            outbox.send({ kind: 'input_ack', sid: 1, mid: `${++controls}`, status: 'busy' })
          else if (kind === 'answer') outbox.pong(++pong)
          else if (kind === 'heartbeat') outbox.ping()
          else {
            socket.isFull = Boolean(a)
            if (!socket.isFull) outbox.drained()
          }
        }
        // The network comes back, and nothing else happens.
        socket.isFull = false
        socket.bufferedAmount = 0
        outbox.drained()
        for (let n = 0; n < 200; n++) {
          loopTurns(5)
          answerPings()
          clock.advance(1_000)
        }
        const frames = messages.flat()
        for (const [i, talker] of talkers.entries()) {
          const seqs = frames.flatMap((frame) => (frame.kind === 'delta' && frame.sid === i + 1 ? [frame.seq] : []))
          expect(seqs).toEqual(Array.from({ length: talker.due }, (_, n) => n + 1))
        }
        const mids = frames.flatMap((frame) => (frame.kind === 'input_ack' ? [Number(frame.mid)] : []))
        expect(mids).toEqual(Array.from({ length: controls }, (_, n) => n + 1))
        const pongs = frames.flatMap((frame) => (frame.kind === 'pong' ? [frame.nonce] : []))
        expect(pongs.at(-1) ?? 0).toBe(pong)
        expect(Math.max(0, ...sizes)).toBeLessThanOrEqual(limits.maxDown)
        expect(faults).toEqual([])
      }),
      { numRuns: 200 },
    )
  })
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeDown } from '../../../protocol/decode.ts'
import type { DownFrame, Policy } from '../../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import { FlushQueue } from '../../../server/connections/flush-queue.ts'
import { Outbox } from '../../../server/connections/outbox.ts'
import { Subscription, type SubscriptionSettings } from '../../../server/connections/subscription.ts'
import { GuardedRuntime } from '../../../server/runtime.ts'
import { wellFormed } from '../../../server/text.ts'
import type { Socket } from '../../../server/transports/transport.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { RunElsewhere } from '../../helpers/run-elsewhere.ts'

const LIMITS = { ...DEFAULT_LIMITS, flushMs: 0 }
const SCAN = { maxBytes: LIMITS.maxDown, maxDepth: LIMITS.maxDepth, maxValues: LIMITS.maxValues }

/** An item of a log as it was logged. */
type Logged = { readonly text?: string; readonly data?: unknown; readonly at: number }

/** A run, and what it has said in each of its lives. The list of a life is by item number, from 1. */
class Told extends RunElsewhere {
  readonly lives: Logged[][] = [[], [{ at: 0 }]]

  tell(said: string | { data: unknown }): void {
    if (typeof said === 'string') this.texts(said)
    else this.data('told', said.data)
    const seq = this.log.last
    const at = this.log.chunk(seq, seq, 1)?.at ?? 0
    this.lives[this.log.gen]?.push(typeof said === 'string' ? { text: said, at } : { data: said.data, at })
  }

  rewind(first: number): void {
    this.lives.push(this.lives[this.log.gen]?.slice(0, first) ?? [])
    this.newLife(first)
  }
}

/** What the client of one subscription believes. It fails at the first frame that is wrong for it. */
class Watcher {
  readonly run: Told
  readonly settings: SubscriptionSettings
  #next = 0
  #gen = 0
  #balance = 0
  ended = false

  constructor(run: Told, settings: SubscriptionSettings) {
    this.run = run
    this.settings = settings
  }

  get last(): number {
    return this.#next - 1
  }

  grant(n: number): void {
    this.#balance += n
  }

  take(frame: DownFrame): void {
    expect(this.ended).toBe(false)
    if (frame.kind === 'opened') {
      expect(this.#next).toBe(0)
      this.#next = frame.next
      this.#gen = frame.gen
      this.#balance += frame.credit
    } else if (frame.kind === 'gap') {
      if (frame.reason === 'rewound') expect(frame.next).toBeLessThanOrEqual(this.#next)
      else expect(frame.from).toBe(this.#next)
      this.#next = frame.next
      this.#gen = frame.gen ?? this.#gen
      if (frame.reason === 'policy') expect(this.settings.policy).toBe('latest')
    } else if (frame.kind === 'delta') {
      const texts = [frame.body].flat()
      const count = frame.count ?? texts.length
      const items = this.#expect(frame.seq, count, count, frame.ts)
      expect(texts.join('|')).toBe(items.map(({ text }) => text).join(frame.count === undefined ? '|' : ''))
      if (frame.count !== undefined) expect(this.settings.policy).toBe('merge')
      else if (this.settings.policy === 'merge') expect(count).toBe(1)
    } else if (frame.kind === 'event') {
      const [item] = this.#expect(frame.seq, 1, frame.cost ?? 1, frame.ts)
      expect((frame.data as { value: unknown }).value).toEqual(item?.data)
    } else if (frame.kind === 'end') {
      expect(frame.seq).toBe(this.#next)
      this.ended = true
    }
  }

  /** The next `count` items, which a frame of `seq` and `ts` carries. Each comes once, and while there is credit. */
  #expect(seq: number, count: number, cost: number, ts: number | undefined): Logged[] {
    expect(seq).toBe(this.#next)
    this.#next += count
    // The last item alone may overdraw.
    expect(this.#balance - (count - 1)).toBeGreaterThan(0)
    this.#balance -= cost
    const items = this.run.lives[this.#gen]?.slice(seq, seq + count) ?? []
    expect(items.length).toBe(count)
    expect(ts).toBe(this.settings.ts ? items[0]?.at : undefined)
    return items
  }
}

/** A server of which only the sending part is real: loop turns pass when the test lets them. */
function sendingServer() {
  const clock = handClock()
  let due: (() => void)[] = []
  const runtime = new GuardedRuntime({ ...clock, nextTurn: (callback) => void due.push(callback) }, (error) => {
    throw error
  })
  const flushes = new FlushQueue(runtime)

  function connect() {
    const watchers = new Map<number, Watcher>()
    const subscriptions = new Map<number, Subscription>()
    const sent: Uint8Array[] = []
    let lastSid = 0
    const socket = {
      bufferedAmount: 0,
      isFull: false,
      send(bytes: Uint8Array) {
        if (socket.isFull) return 'full'
        sent.push(bytes)
        for (const frame of decodeDown(bytes, SCAN)) {
          if (frame.kind === 'ping') pings.push(frame.nonce)
          if ('sid' in frame) watchers.get(frame.sid)?.take(frame)
        }
        return 'sent'
      },
    }
    const pings: number[] = []
    const fault = (_: number, reason: string): never => expect.unreachable(reason)
    const outbox = new Outbox(socket as unknown as Socket, runtime, flushes, LIMITS, fault)
    return {
      outbox,
      socket,
      sent,
      watchers,
      subscriptions,
      watch(run: Told, given: Partial<SubscriptionSettings> = {}): Watcher {
        const sid = Math.max(lastSid + 1, given.sid ?? 0)
        lastSid = sid
        const settings: SubscriptionSettings = {
          own: true,
          from: { after: 0, gen: undefined },
          credit: 256,
          policy: 'log',
          rate: undefined,
          ts: false,
          reused: false,
          ...given,
          sid,
        }
        const watcher = new Watcher(run, settings)
        watchers.set(sid, watcher)
        const subscription = new Subscription(outbox, runtime, LIMITS, run, settings, () => subscriptions.delete(sid))
        subscriptions.set(sid, subscription)
        subscription.open()
        return watcher
      },
      answerPings() {
        for (const nonce of pings.splice(0)) outbox.answered(nonce)
      },
    }
  }

  return {
    clock,
    connect,
    loopTurns(count: number) {
      for (let n = 0; n < count; n++) {
        const callbacks = due
        due = []
        for (const callback of callbacks) callback()
      }
    },
  }
}

/** The last message of each connection. */
function lastOf(connections: readonly { readonly sent: readonly Uint8Array[] }[]): (Uint8Array | undefined)[] {
  return connections.map(({ sent }) => sent.at(-1))
}

describe('watchers of one run', () => {
  test('that stand at the same item and see it alike are sent one message, encoded once', () => {
    const { connect, loopTurns } = sendingServer()
    const run = new Told('alice')
    const connections = [connect(), connect(), connect()]
    // The policies differ only where items wait.
    const policies: readonly Policy[] = ['log', 'pace', 'latest']
    for (const [i, connection] of connections.entries()) connection.watch(run, { policy: policies[i] ?? 'log' })
    loopTurns(3)
    run.tell('one')
    loopTurns(2)
    const [first, ...others] = lastOf(connections)
    expect(first?.length).toBeGreaterThan(0)
    for (const other of others) expect(other).toBe(first)
    run.tell({ data: 2 })
    loopTurns(2)
    const [event, ...sameEvent] = lastOf(connections)
    expect(event).not.toBe(first)
    for (const other of sameEvent) expect(other).toBe(event)
  })

  test.each<[string, Partial<SubscriptionSettings>, (connection: { outbox: Outbox }) => void]>([
    ['has another stream id', { sid: 7 }, () => {}],
    ['asks for times', { ts: true }, () => {}],
    ['merges texts', { policy: 'merge' }, () => {}],
    ['has less credit', { credit: 1 }, () => {}],
    ['is owed an answer', {}, ({ outbox }) => outbox.pong(1)],
    ['is owed a PING', {}, ({ outbox }) => outbox.ping()],
  ])('do not share a message with one that %s', (_, settings, before) => {
    const { connect, loopTurns } = sendingServer()
    const run = new Told('alice')
    const plain = [connect(), connect()]
    const other = connect()
    const watchers = [...plain.map((connection) => connection.watch(run)), other.watch(run, settings)]
    loopTurns(3)
    before(other)
    run.tell('one')
    run.tell('two')
    loopTurns(2)
    const [first, second] = lastOf(plain)
    expect(second).toBe(first)
    expect(other.sent.at(-1)).not.toBe(first)
    expect(watchers.map(({ last }) => last)).toEqual([2, 2, settings.credit ?? 2])
  })

  test('are sent nothing of a life that is over, though its items had the same numbers', () => {
    const { connect, loopTurns } = sendingServer()
    const run = new Told('alice')
    const connections = [connect(), connect()]
    const watchers = connections.map((connection) => connection.watch(run))
    loopTurns(3)
    run.tell('void')
    loopTurns(2)
    run.rewind(1)
    run.tell('real')
    loopTurns(3)
    expect(watchers.map(({ last }) => last)).toEqual([1, 1])
  })

  test('each get every item exactly once and in their own way, whatever they ask for and whatever holds them back', () => {
    const anyRun = fc.constantFrom(0, 0, 0, 1)
    const anyConnection = fc.nat(4)
    // Most watchers differ in nothing, so that many come to stand alike.
    const settings = fc.oneof(
      { weight: 2, arbitrary: fc.constant({}) },
      fc.record({
        sid: fc.constantFrom(1, 1, 1, 2, 9),
        credit: fc.constantFrom(0, 2, 256, 256, 256),
        policy: fc.constantFrom<Policy>('log', 'log', 'log', 'pace', 'merge', 'latest'),
        rate: fc.constantFrom(undefined, undefined, undefined, 0, 20),
        ts: fc.constantFrom(false, false, true),
      }),
    )
    const move = fc.oneof(
      { weight: 8, arbitrary: fc.tuple(fc.constant('text'), anyRun, fc.string({ minLength: 1, maxLength: 8 })) },
      { weight: 2, arbitrary: fc.tuple(fc.constant('event'), anyRun, fc.integer()) },
      // Two of these are more than one share.
      { weight: 1, arbitrary: fc.tuple(fc.constant('event'), anyRun, fc.constant('x'.repeat(9_000))) },
      { weight: 12, arbitrary: fc.tuple(fc.constant('loop turns'), fc.nat(2)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('watch'), anyConnection, anyRun, settings) },
      { weight: 2, arbitrary: fc.tuple(fc.constant('grant'), anyConnection, fc.integer({ min: 1, max: 5 })) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('rate'), anyConnection, fc.constantFrom(null, 0, 30)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('new life'), anyRun, fc.nat(3)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('detach'), anyConnection) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('full'), anyConnection, fc.boolean()) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('pings'), anyConnection) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('ping'), anyConnection) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('time'), fc.nat(100)) },
    ) as fc.Arbitrary<[string, ...unknown[]]>
    let shared = 0
    fc.assert(
      fc.property(
        fc.array(settings, { minLength: 5, maxLength: 5 }),
        fc.array(move, { maxLength: 120, size: 'max' }),
        (firsts, moves) => {
          const { clock, connect, loopTurns } = sendingServer()
          const runs = [new Told('alice'), new Told('bob')]
          const connections = Array.from({ length: 5 }, connect)
          for (const [i, connection] of connections.entries()) connection.watch(runs[0]!, firsts[i])
          for (const [kind, first, second, third] of moves) {
            const run = runs[Number(first)]
            const connection = connections[Number(first)]
            if (kind === 'text') run?.tell(wellFormed(String(second)))
            else if (kind === 'event') run?.tell({ data: second })
            else if (kind === 'loop turns') loopTurns(Number(first))
            else if (kind === 'watch') connection?.watch(runs[Number(second)]!, third as Partial<SubscriptionSettings>)
            else if (kind === 'new life') run?.rewind(Math.max(1, run.log.next - Number(second)))
            else if (kind === 'time') clock.advance(Number(first))
            else if (kind === 'pings') connection?.answerPings()
            else if (kind === 'ping') connection?.outbox.ping()
            else if (kind === 'full' && connection) {
              connection.socket.isFull = Boolean(second)
              if (!connection.socket.isFull) connection.outbox.drained()
            } else {
              const [sid, subscription] = [...(connection?.subscriptions ?? [])][0] ?? []
              if (sid === undefined || !subscription) continue
              if (kind === 'rate') subscription.setRate(second as number | null)
              else if (kind === 'grant') {
                subscription.grant(Number(second))
                connection?.watchers.get(sid)?.grant(Number(second))
              } else {
                subscription.close()
                connection?.watchers.delete(sid)
              }
            }
          }
          for (const { socket, outbox, subscriptions, watchers } of connections) {
            socket.isFull = false
            outbox.drained()
            for (const [sid, subscription] of subscriptions) {
              subscription.setRate(null)
              subscription.grant(1_000)
              watchers.get(sid)?.grant(1_000)
            }
          }
          for (const run of runs) run.ends('done', { result: 'all' })
          for (let n = 0; n < 60; n++) {
            loopTurns(5)
            clock.advance(1_000)
            for (const connection of connections) connection.answerPings()
          }
          const all = connections.flatMap(({ watchers }) => [...watchers.values()])
          expect(all.map(({ last, ended }) => [last, ended])).toEqual(all.map(({ run }) => [run.log.last, true]))
          const messages = connections.flatMap(({ sent }) => sent)
          shared += messages.length - new Set(messages).size
        },
      ),
      { numRuns: 400 },
    )
    // Otherwise nothing was tested here.
    expect(shared).toBeGreaterThan(400)
  })
})

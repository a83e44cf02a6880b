import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { OnDetach, Policy } from '../../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import { actor } from '../../../server/actors/actor.ts'
import { Cursor } from '../../../server/log/cursor.ts'
import type { Reader } from '../../../server/log/readers.ts'
import type { Run } from '../../../server/runs/run.ts'
import { loneRun } from '../../helpers/lone-run.ts'

const LIMITS = { ...DEFAULT_LIMITS, maxCredit: 60, readAhead: 5 }
const TOTAL = 400
/** Every seventh item is an event that costs 3. */
const costOf = (seq: number): number => (seq % 7 === 0 ? 3 : 1)

/** An actor that has items up to `last`, which a test raises. */
function talker() {
  let last = 0
  let onMore = (): void => {}
  /** It was asked for more than it has. */
  let isAsked = false
  return {
    actor: actor({
      async *stream() {
        for (let seq = 1; seq <= TOTAL; seq++) {
          while (seq > last) {
            isAsked = true
            await new Promise<void>((resolve) => (onMore = resolve))
          }
          isAsked = false
          if (costOf(seq) === 1) yield `${seq} `
          else yield { type: 'data' as const, name: 'x', value: 'y'.repeat(2_500) }
        }
      },
    }),
    has(more: number) {
      last = Math.min(TOTAL, last + more)
      onMore()
    },
    get last() {
      return last
    },
    get isAsked() {
      return isAsked
    },
  }
}

/** One who reads all that it may, as soon as it may, and keeps count by itself. */
class Peer implements Reader {
  readonly policy: Policy
  readonly own = true
  readonly cursor: Cursor
  paused = false
  resting = false
  /** The items it may still be sent, counted without the cursor. */
  balance: number
  isAwake = true
  /** How many items its rate lets through now. */
  spare = Number.POSITIVE_INFINITY
  readonly #run: Run

  constructor(run: Run, policy: Policy, last: number, credit: number) {
    this.#run = run
    this.policy = policy
    this.balance = Math.min(credit, LIMITS.maxCredit)
    this.cursor = new Cursor(run.log, { last, gen: 1 }, credit, LIMITS.maxCredit)
  }

  wake(): void {
    this.isAwake = true
  }

  dismiss(): void {}

  grant(n: number): void {
    this.balance = Math.min(LIMITS.maxCredit, this.balance + n)
    this.cursor.grant(n)
    this.#run.reconsider(this)
    this.wake()
  }

  pause(paused: boolean): void {
    this.paused = paused
    this.#run.reconsider(this)
    this.wake()
  }

  allowance(): number {
    return this.spare
  }

  /** Its rate lets so many items through, from now on. */
  refill(spare: number): void {
    this.spare = spare
    this.#run.reconsider(this)
    this.wake()
  }

  /** Reads, if it was woken. */
  read(): void {
    if (!this.isAwake) return
    this.isAwake = false
    const { log } = this.#run
    while (this.mayRead && this.cursor.last < log.last) {
      const seq = this.cursor.last + 1
      expect(this.cursor.reach).toBeGreaterThanOrEqual(seq)
      this.cursor.sent(seq, log.costOf(seq))
      this.balance -= costOf(seq)
      this.spare--
    }
    if (this.cursor.last === log.last) this.#run.rest(this)
  }

  get mayRead(): boolean {
    return !this.paused && this.balance > 0 && this.spare >= 1
  }

  /** The last item that the actor may say for its sake. */
  get bound(): number {
    if (this.paused) return 0
    let at = this.cursor.last
    for (let left = this.balance; left > 0; left -= costOf(at)) at++
    return Math.min(at, this.cursor.last + this.spare) + LIMITS.readAhead
  }
}

type Move =
  | { do: 'join'; policy: Policy; back: number; credit: number }
  | { do: 'leave'; who: number }
  | { do: 'grant'; who: number; n: number }
  | { do: 'pause'; who: number; paused: boolean }
  | { do: 'refill'; who: number; spare: number }
  | { do: 'speak'; more: number }
  | { do: 'settle' }

const move: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('join' as const),
      policy: fc.constantFrom<Policy>('pace', 'pace', 'log'),
      back: fc.nat(30),
      credit: fc.nat(80),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), who: fc.nat(5) }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('grant' as const), who: fc.nat(5), n: fc.integer({ min: 1, max: 40 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('pause' as const), who: fc.nat(5), paused: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('refill' as const),
      who: fc.nat(5),
      spare: fc.oneof(fc.nat(20), fc.constant(Number.POSITIVE_INFINITY)),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('speak' as const), more: fc.oneof(fc.nat(3), fc.nat(60)) }) },
  { weight: 6, arbitrary: fc.constant<Move>({ do: 'settle' }) },
)

describe('an actor', () => {
  test('sends exactly as much as its readers let it, whichever come, leave, pause, grant or limit its rate', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<OnDetach>('pause', 'continue'),
        fc.array(move, { maxLength: 40, size: 'max' }),
        async (onDetach, moves) => {
          const talks = talker()
          const run = loneRun(talks.actor, LIMITS, onDetach)
          const first = new Peer(run, 'pace', 0, 10)
          run.join(first)
          run.begin({ value: null })
          const peers = [first]
          let lastPacer: Peer | undefined
          /** Up to where it may say things, as far as it has any. */
          const allowed = (): number => Math.min(talks.last, permitted())
          const permitted = (): number => {
            const pacing = peers.filter(({ policy }) => policy === 'pace')
            if (pacing.length > 0) return Math.min(...pacing.map(({ bound }) => bound))
            return peers.length === 0 && onDetach === 'pause' && lastPacer ? lastPacer.bound : Number.POSITIVE_INFINITY
          }
          const settle = async (): Promise<void> => {
            for (let quiet = 0, last = -1; quiet < 3; quiet++) {
              await new Promise((resolve) => setImmediate(resolve))
              for (const peer of peers) peer.read()
              if (run.log.last !== last) quiet = 0
              last = run.log.last
            }
            // Of one change exactly what it allows; of several no more than the most that any of them did.
            expect(run.log.last).toBeGreaterThanOrEqual(allowed())
            expect(run.log.last).toBeLessThanOrEqual(most)
            most = run.log.last
            if (most === TOTAL && permitted() > TOTAL) expect(run.end).toBeDefined()
            for (const { mayRead, cursor } of peers) expect(cursor.last === run.log.last || !mayRead).toBe(true)
          }
          let most = 0
          await settle()
          for (const one of [...moves, { do: 'settle' } as const]) {
            // An item that was already requested comes, whatever has changed meanwhile.
            if (talks.isAsked) most = Math.max(most, Math.min(talks.last, run.log.last + 1))
            if (one.do === 'settle') await settle()
            else if (one.do === 'speak') talks.has(one.more)
            else if (one.do === 'join') {
              const peer = new Peer(run, one.policy, Math.max(0, run.log.last - one.back), one.credit)
              peers.push(peer)
              run.join(peer)
            } else {
              const peer = peers[one.who % Math.max(1, peers.length)]
              if (!peer) continue
              if (one.do === 'grant') peer.grant(one.n)
              else if (one.do === 'pause') peer.pause(one.paused)
              else if (one.do === 'refill') peer.refill(one.spare)
              else {
                peers.splice(peers.indexOf(peer), 1)
                if (peer.policy === 'pace') lastPacer = peer
                run.leave(peer)
              }
            }
            most = Math.max(most, allowed())
          }
          run.cancel({ by: 'server', code: 0 })
        },
      ),
      { numRuns: 100 },
    )
  })
})

import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent, StreamEvent } from '../../protocol/events.ts'
import type { Policy, WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { RateBucket } from '../connections/rate-bucket.ts'
import { isMissing, type Jump, jumpOverMissing, lifeJump, locate } from '../connections/start-position.ts'
import { eventsOf } from '../log/chunk-events.ts'
import { Cursor, type StartPosition } from '../log/cursor.ts'
import type { LoggedEnd } from '../log/logged-end.ts'
import { GOES_ON_ELSEWHERE, type Reader } from '../log/readers.ts'
import type { ReadableRun } from '../runs/readable-run.ts'

/** The most bytes taken from the log at once. */
const CHUNK_BYTES = 16_384

/** How a run is read. */
export type ReaderSettings = {
  readonly from: StartPosition
  readonly policy: Policy
  /** Whether the reader is the run's principal. */
  readonly own: boolean
  /** The client instance that reads, if it is known. */
  readonly client?: string | undefined
  /** How far the run may be ahead of what was read, in addition to `readAhead`. */
  readonly credit: number
  /** Items a second. Undefined: no limit. */
  readonly rate?: number | undefined
}

/**
 * What comes next: an event, the end of the run, or the end of the reading before it. `hasMoved`: because another server
 * has the run, where it can be found again.
 */
export type Step =
  | { readonly kind: 'event'; readonly event: StreamEvent; readonly gen: number }
  | { readonly kind: 'end'; readonly end: LoggedEnd; readonly gen: number }
  | { readonly kind: 'dismissed'; readonly error: MillraceError; readonly hasMoved: boolean }

type Said = { readonly event: RunEvent | undefined; readonly items: number; readonly cost: number; readonly at: number }

/**
 * Reads a run from any position, as events. What is taken from it counts as read, so whoever takes only what can be sent
 * holds the run back as a client does that grants no credit.
 */
export class EventReader implements Reader {
  readonly policy: Policy
  readonly own: boolean
  readonly client: string | undefined
  readonly cursor: Cursor
  resting = false
  readonly run: ReadableRun
  readonly #runtime: Runtime
  readonly #wake: (urgent: boolean) => void
  #lanes: Map<unknown, WireMap>
  /** What was taken from the log and not read yet. */
  #said: Said[] = []
  #jumps: Jump[]
  #rate: RateBucket | undefined
  #dismissed: Extract<Step, { kind: 'dismissed' }> | undefined

  /**
   * Joins the readers of the run.
   * @param wake there is something to take again.
   */
  constructor(
    run: ReadableRun,
    runtime: Runtime,
    limits: Pick<Limits, 'maxCredit'>,
    settings: ReaderSettings,
    wake: (urgent: boolean) => void,
  ) {
    const { from, policy, own, client, credit, rate } = settings
    this.run = run
    this.policy = policy
    this.own = own
    this.client = client
    this.#runtime = runtime
    this.#wake = wake
    const { position, gaps } = locate(run, 0, from)
    this.cursor = new Cursor(run.log, position, Math.min(Math.max(1, credit), limits.maxCredit), limits.maxCredit)
    this.#jumps = gaps.map(({ from, next, reason, gen }) => ({ from, next, reason, gen: gen ?? position.gen }))
    this.#lanes = this.#lanesAt()
    if (rate !== undefined) this.#rate = new RateBucket(rate, runtime)
    run.join(this)
  }

  get paused(): boolean {
    return this.#rate?.perSec === 0
  }

  get perSec(): number | undefined {
    return this.#rate?.perSec
  }

  allowance(): number {
    return this.#rate?.allowance(this.#refilled) ?? Number.POSITIVE_INFINITY
  }

  readonly #refilled = (): void => {
    this.run.reconsider(this)
    this.#wake(true)
  }

  /** Sets the rate, in items a second. 0 pauses; null removes the rate. */
  setRate(perSec: number | null): void {
    this.#rate?.clear()
    this.#rate = perSec === null ? undefined : new RateBucket(perSec, this.#runtime)
    this.run.reconsider(this)
    this.#wake(true)
  }

  wake(urgent: boolean): void {
    this.#wake(urgent)
  }

  dismiss(code: string, message: string): void {
    this.#dismiss(code, message, false)
  }

  drop(hasMoved: boolean): void {
    this.#dismiss('interrupted', GOES_ON_ELSEWHERE, hasMoved)
  }

  #dismiss(code: string, message: string, hasMoved: boolean): void {
    const error = MillraceError.fromShape({ code, message, retryable: true })
    this.#dismissed = { kind: 'dismissed', error, hasMoved }
    this.#wake(true)
  }

  /** Leaves the run, which goes on. */
  leave(): void {
    this.#rate?.clear()
    this.run.leave(this)
  }

  /** Takes what comes next. Undefined: nothing for now, and `wake` is called when there may be more. */
  take(): Step | undefined {
    const { run, cursor } = this
    const { log } = run
    for (;;) {
      const begun = this.#jumps.shift()
      if (begun) return this.#gap(begun)
      const newLife = lifeJump(log, cursor)
      if (newLife) return this.#jump(newLife)
      if (cursor.last === log.last && cursor.gen === log.gen && run.end)
        return { kind: 'end', end: run.end, gen: cursor.gen }
      if (this.#dismissed) return this.#dismissed
      if (cursor.last >= log.last) {
        run.rest(this)
        return undefined
      }
      const allowed = this.paused ? 0 : this.allowance()
      if (allowed < 1) return undefined
      if (this.#said.length === 0) {
        if (isMissing(log, cursor, this.policy)) return this.#jump(jumpOverMissing(log, cursor))
        if (!this.#load(allowed)) return undefined
      }
      const step = this.#next()
      if (step) return step
    }
  }

  /** Hands out the next item. Undefined where readers see none. */
  #next(): Step | undefined {
    const { event, items, cost, at } = this.#said.shift()!
    const { cursor } = this
    const seq = cursor.last + items
    cursor.sent(seq, cost)
    cursor.grant(cost)
    this.#rate?.take(items)
    this.run.reconsider(this)
    return event && { kind: 'event', event: { ...event, seq, at }, gen: cursor.gen }
  }

  #load(allowed: number): boolean {
    const { log } = this.run
    const { last, gen } = this.cursor
    const through = Math.min(log.last, last + allowed, (log.lifeAfter(gen)?.first ?? Number.POSITIVE_INFINITY) - 1)
    const chunk = log.chunk(last + 1, through, CHUNK_BYTES)
    if (!chunk) return false
    const { at, lane, count, cost } = chunk
    const events = eventsOf(chunk, this.#lanes)
    const [first] = events
    if (this.policy === 'merge' && count > 1 && first && 'text' in first) {
      const text = events.map((event) => (event as typeof first).text).join('')
      this.#said = [{ event: { ...first, text }, items: count, cost, at }]
    } else this.#said = events.map((event) => ({ event, items: 1, cost: lane === undefined ? cost : 1, at }))
    return true
  }

  #jump(jump: Jump): Step {
    this.cursor.moveTo(jump.next - 1, jump.gen)
    this.#said = []
    this.#lanes = this.#lanesAt()
    this.run.reconsider(this)
    return this.#gap(jump)
  }

  #gap({ from, next, reason, gen }: Jump): Step {
    const at = Math.floor(this.#runtime.wallClock())
    return { kind: 'event', event: { type: 'gap', from, next, reason, seq: next - 1, at }, gen }
  }

  #lanesAt(): Map<unknown, WireMap> {
    return new Map(this.run.log.lanesAt(this.cursor.last + 1))
  }
}

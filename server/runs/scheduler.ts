import type { Runtime } from '../../protocol/runtime.ts'

/** All runs together may produce for about this long in one event-loop turn: it bounds how late a cancel is read. */
const TURN_MS = 1
/** Runs that may go on in one turn. Full slices of so many tokens are a turn's worth. */
const RUNS_PER_TURN = 32

/**
 * Shares the event loop among runs. A producer that never waits lives in microtasks and would starve every socket (1,000
 * runs of 288 tokens hold the loop 40 ms); here it takes a slice and goes on in a later turn. The slices of a turn are
 * taken one after the other: what a run says in one go fits in one frame, and costs a third of the same items said in turn.
 */
export class Scheduler {
  readonly #runtime: Runtime
  #open = false
  #number = 0
  #startedAt = 0
  #wallClock = 0
  #spent = false
  /** Who last waited for something outside, such as a model, is not queued behind all who can always go on. */
  #first: (() => void)[] = []
  #waiting: (() => void)[] = []
  #wasFirst = false
  /** Calls of `#goOn` that are under way. */
  #steps = 0

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  /** Number of the present turn, for slices of one's own. */
  get number(): number {
    return this.#number
  }

  /** Others wait for their turn. */
  get crowded(): boolean {
    return this.#waiting.length > 0
  }

  /** Epoch milliseconds, as of the last items: what was said meanwhile was said then. */
  get wallClock(): number {
    return this.#open ? this.#wallClock : this.#runtime.wallClock()
  }

  /** How many of `items` may be produced now without asking again: all, or 0 when the turn is spent. */
  take(items: number): number {
    this.#begin()
    if (this.#spent) return 0
    this.#look()
    return this.#spent ? 0 : items
  }

  /** Calls `callback` in the next turn, or when it comes to it among those that wait: two queues, each served every other time. */
  later(callback: () => void, first: boolean): void {
    this.#begin()
    if (first) this.#first.push(callback)
    else this.#waiting.push(callback)
    this.#step()
  }

  #begin(): void {
    if (this.#open) return
    this.#open = true
    this.#spent = false
    this.#startedAt = this.#runtime.now()
    this.#wallClock = this.#runtime.wallClock()
    this.#runtime.nextTurn(() => {
      this.#open = false
      this.#number++
    })
  }

  #look(): void {
    this.#wallClock = this.#runtime.wallClock()
    if (this.#runtime.now() - this.#startedAt >= TURN_MS) this.#spent = true
  }

  #step(): void {
    if (this.#steps >= RUNS_PER_TURN) return
    this.#steps++
    this.#runtime.nextTurn(this.#goOn)
  }

  /** One run goes on. Each has a callback of the event loop of its own: between two of them all that it says is said. */
  readonly #goOn = (): void => {
    this.#steps--
    this.#begin()
    this.#look()
    const next = this.#spent ? undefined : this.#next()
    if (this.#first.length + this.#waiting.length > this.#steps) this.#step()
    next?.()
  }

  /** In turn, if there are both: neither keeps the other waiting for good. */
  #next(): (() => void) | undefined {
    const isFirst = this.#first.length > 0 && (!this.#wasFirst || this.#waiting.length === 0)
    this.#wasFirst = isFirst
    return isFirst ? this.#first.shift() : this.#waiting.shift()
  }
}

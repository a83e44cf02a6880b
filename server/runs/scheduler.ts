import type { Runtime } from '../../protocol/runtime.ts'

/** All runs together may produce for about this long in one loop turn. It bounds how late a cancel is read. */
const TURN_MS = 1
/** Runs that may go on in one loop turn. Their full slices fill about a turn. */
const RUNS_PER_TURN = 32

/**
 * Shares the event loop among runs. A producer that never waits runs in microtasks and would starve every socket: 1,000
 * runs of 288 tokens hold the loop for 40 ms. Here a run takes a slice and goes on in a later loop turn. A run takes its
 * whole slice at once: the items then fit in one frame, and cost a third of the same items produced alternately.
 */
export class Scheduler {
  readonly #runtime: Runtime
  #open = false
  #number = 0
  /** When the loop turn began, by both clocks, and the wall clock as of the last look. */
  #startedAt = 0
  #startedWallClock = 0
  #wallClock = 0
  #spent = false
  /** Runs that last waited for something outside, such as a model. They do not queue behind runs that never wait. */
  #first: (() => void)[] = []
  #waiting: (() => void)[] = []
  #wasFirst = false
  /** Calls of `#goOn` that are under way. */
  #steps = 0

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  /** The number of the present loop turn. A caller counts its own slice by it. */
  get number(): number {
    return this.#number
  }

  /** Other runs wait for a slot. */
  get crowded(): boolean {
    return this.#waiting.length > 0
  }

  /**
   * The wall clock as of the last look, in epoch milliseconds. The items of one loop turn share it: reading a clock for
   * each would be a good part of what an item costs.
   */
  get wallClock(): number {
    this.#begin()
    return this.#wallClock
  }

  /** How many of `items` may be produced now without asking again: all of them, or 0 when the loop turn is used up. */
  take(items: number): number {
    this.#begin()
    if (this.#spent) return 0
    this.#look()
    return this.#spent ? 0 : items
  }

  /**
   * Queues `callback` for a slot in a later loop turn. There are two queues, each served every other time.
   * @param first whether the caller had waited for something outside.
   */
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
    this.#startedWallClock = this.#wallClock = this.#runtime.wallClock()
    this.#runtime.nextTurn(this.#end)
  }

  readonly #end = (): void => {
    this.#open = false
    this.#number++
  }

  #look(): void {
    const ms = this.#runtime.now() - this.#startedAt
    this.#wallClock = this.#startedWallClock + Math.floor(ms)
    if (ms >= TURN_MS) this.#spent = true
  }

  #step(): void {
    if (this.#steps >= RUNS_PER_TURN) return
    this.#steps++
    this.#runtime.nextTurn(this.#goOn)
  }

  /** One run goes on. Each run has an event-loop callback of its own, so all of its microtasks run between two of them. */
  readonly #goOn = (): void => {
    this.#steps--
    this.#begin()
    this.#look()
    const next = this.#spent ? undefined : this.#next()
    if (this.#first.length + this.#waiting.length > this.#steps) this.#step()
    next?.()
  }

  /** Alternates between the queues, so that neither starves the other. */
  #next(): (() => void) | undefined {
    const isFirst = this.#first.length > 0 && (!this.#wasFirst || this.#waiting.length === 0)
    this.#wasFirst = isFirst
    return isFirst ? this.#first.shift() : this.#waiting.shift()
  }
}

import type { Runtime } from '../protocol/runtime.ts'

/** All runs together may produce for about this long in one event-loop turn: it bounds how late a cancel is read. */
const TURN_MS = 1
/** Items between two looks at the clock. */
const CLOCK_EVERY = 16

/**
 * Shares the event loop among runs. A producer that never waits lives in microtasks and would starve every socket (1,000
 * runs of 288 tokens hold the loop 40 ms); here it takes a slice and goes on in the next turn.
 */
export class Turns {
  readonly #runtime: Runtime
  #open = false
  #number = 0
  #startedAt = 0
  #items = 0
  #spent = false
  #waiting: (() => void)[] = []

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  /** Number of the present turn, for slices of one's own. */
  get number(): number {
    return this.#number
  }

  /** Whether one more item may be produced in this turn. */
  allows(): boolean {
    this.#begin()
    if (++this.#items % CLOCK_EVERY === 0 && this.#runtime.now() - this.#startedAt >= TURN_MS) this.#spent = true
    return !this.#spent
  }

  /** Calls `callback` in the next turn. */
  later(callback: () => void): void {
    this.#begin()
    this.#waiting.push(callback)
  }

  #begin(): void {
    if (this.#open) return
    this.#open = true
    this.#spent = false
    this.#items = 0
    this.#startedAt = this.#runtime.now()
    this.#runtime.nextTurn(() => {
      this.#open = false
      this.#number++
      const waiting = this.#waiting
      this.#waiting = []
      for (const callback of waiting) callback()
    })
  }
}

import type { Runtime, Timer } from '../../protocol/runtime.ts'

/** A time limit that can be held: it counts only while nothing holds it. */
export class Deadline {
  readonly #runtime: Runtime
  readonly #ms: number
  readonly #expired: () => void
  readonly #startedAt: number
  #timer: Timer | undefined
  #heldSince: number | undefined
  #heldMs = 0
  /** The timer fired while the deadline was held. */
  #due = false

  constructor(runtime: Runtime, ms: number, expired: () => void) {
    this.#runtime = runtime
    this.#ms = ms
    this.#expired = expired
    this.#startedAt = runtime.now()
    this.#arm(ms)
  }

  /** Stops the count until `release`. Holding it twice has no further effect. It costs one look at the clock. */
  hold(): void {
    this.#heldSince ??= this.#runtime.now()
  }

  release(): void {
    if (this.#heldSince === undefined) return
    this.#heldMs += this.#runtime.now() - this.#heldSince
    this.#heldSince = undefined
    if (!this.#due) return
    this.#due = false
    this.#arm(Math.max(0, this.#left()))
  }

  /** What is left, in milliseconds. */
  get leftMs(): number {
    const heldNow = this.#heldSince === undefined ? 0 : this.#runtime.now() - this.#heldSince
    return this.#left() + heldNow
  }

  clear(): void {
    this.#timer?.clear()
    this.#timer = undefined
  }

  #left(): number {
    return this.#ms - (this.#runtime.now() - this.#startedAt - this.#heldMs)
  }

  /** A hold does not touch the timer: when the timer fires, it looks how long the deadline was held. */
  #arm(ms: number): void {
    this.#timer = this.#runtime.setTimer(ms, () => {
      if (this.#heldSince !== undefined) {
        this.#due = true
        return
      }
      const left = this.#left()
      if (left <= 0) this.#expired()
      else this.#arm(left)
    })
  }
}

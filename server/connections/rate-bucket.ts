import type { Runtime, Timer } from '../../protocol/runtime.ts'

/** A rate in items a second. It allows bursts of a tenth of a second, and of at least one item. */
export class RateBucket {
  readonly perSec: number
  readonly #runtime: Runtime
  readonly #capacity: number
  #tokens: number
  #filledAt: number
  #timer: Timer | undefined

  constructor(perSec: number, runtime: Runtime) {
    this.perSec = perSec
    this.#runtime = runtime
    this.#capacity = Math.max(1, perSec / 10)
    this.#tokens = this.#capacity
    this.#filledAt = runtime.now()
  }

  /** How many items may be sent now. When it is none, `refilled` is called as soon as it is one. */
  allowance(refilled: () => void): number {
    const now = this.#runtime.now()
    this.#tokens = Math.min(this.#capacity, this.#tokens + ((now - this.#filledAt) * this.perSec) / 1000)
    this.#filledAt = now
    if (this.#tokens < 1 && !this.#timer) {
      this.#timer = this.#runtime.setTimer(Math.ceil(((1 - this.#tokens) / this.perSec) * 1000), () => {
        this.#timer = undefined
        refilled()
      })
    }
    return Math.floor(this.#tokens)
  }

  take(items: number): void {
    this.#tokens -= items
  }

  clear(): void {
    this.#timer?.clear()
    this.#timer = undefined
  }
}

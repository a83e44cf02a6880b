import { MillraceError } from '../../protocol/errors.ts'
import type { Runtime } from '../../protocol/runtime.ts'

/** A rate with a burst: `take` until it is empty; it fills with time. */
export class TokenBucket {
  readonly #runtime: Runtime
  readonly #perSec: number
  readonly #burst: number
  #tokens: number
  #filledAt: number

  constructor(runtime: Runtime, perSec: number, burst: number) {
    this.#runtime = runtime
    this.#perSec = perSec
    this.#burst = burst
    this.#tokens = burst
    this.#filledAt = runtime.now()
  }

  /** Takes `n`, by default one. False, and nothing is taken, when fewer are left. */
  take(n = 1): boolean {
    const now = this.#runtime.now()
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledAt) * this.#perSec) / 1000)
    this.#filledAt = now
    if (this.#tokens < n) return false
    this.#tokens -= n
    return true
  }

  /** Milliseconds until one is there. */
  get waitMs(): number {
    return Math.max(0, Math.ceil(((1 - this.#tokens) / this.#perSec) * 1000))
  }

  /** It is as full as it can be: forgetting it changes nothing. */
  get full(): boolean {
    return this.#tokens + ((this.#runtime.now() - this.#filledAt) * this.#perSec) / 1000 >= this.#burst
  }
}

/** What one principal uses of a node, against what it may. */
export class Quota {
  liveRuns = 0
  connections = 0
  readonly starts: TokenBucket

  constructor(starts: TokenBucket) {
    this.starts = starts
  }

  /** Nothing is used: the books can be forgotten. */
  get idle(): boolean {
    return this.liveRuns === 0 && this.connections === 0 && this.starts.full
  }

  /** @throws MillraceError `rate_limited` with `details.afterMs`. */
  takeStart(): void {
    if (this.starts.take()) return
    throw new MillraceError('rate_limited', 'too many starts and attaches at once; try again a little later', {
      details: { afterMs: this.starts.waitMs },
    })
  }

  /** @throws MillraceError `overloaded` when the principal has as many live runs as it may. */
  checkRuns(maxRuns: number): void {
    if (this.liveRuns >= maxRuns)
      throw new MillraceError('overloaded', `you have ${maxRuns} live runs, as many as allowed; end one first`)
  }
}

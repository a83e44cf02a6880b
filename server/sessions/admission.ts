import { MillraceError } from '../../protocol/errors.ts'
import type { Runtime } from '../../protocol/runtime.ts'

/** A token bucket: it limits a rate and allows a burst. It refills with time. */
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

  /** Takes `n` tokens, 1 by default. Returns false, and takes none, when fewer are left. */
  take(n = 1): boolean {
    const now = this.#runtime.now()
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledAt) * this.#perSec) / 1000)
    this.#filledAt = now
    if (this.#tokens < n) return false
    this.#tokens -= n
    return true
  }

  /** Milliseconds until one token is available. */
  get waitMs(): number {
    return Math.max(0, Math.ceil(((1 - this.#tokens) / this.#perSec) * 1000))
  }

  /** Whether the bucket is full, so that forgetting it changes nothing. */
  get full(): boolean {
    return this.#tokens + ((this.#runtime.now() - this.#filledAt) * this.#perSec) / 1000 >= this.#burst
  }
}

/** The quota of one principal on a node: its live runs, its connections, and its starts per second. */
export class Quota {
  liveRuns = 0
  connections = 0
  readonly starts: TokenBucket

  constructor(starts: TokenBucket) {
    this.starts = starts
  }

  /** Whether nothing is in use, so that the quota can be forgotten. */
  get idle(): boolean {
    return this.liveRuns === 0 && this.connections === 0 && this.starts.full
  }

  /**
   * Counts one START or ATTACH.
   * @throws MillraceError `rate_limited`, with the milliseconds to wait in `details.afterMs`.
   */
  takeStart(): void {
    if (this.starts.take()) return
    throw new MillraceError('rate_limited', 'too many starts and attaches at once; try again later', {
      details: { afterMs: this.starts.waitMs },
    })
  }

  /** @throws MillraceError `overloaded` when the principal has `maxRuns` live runs. */
  checkRuns(maxRuns: number): void {
    if (this.liveRuns >= maxRuns)
      throw new MillraceError('overloaded', `you have ${maxRuns} live runs, the maximum; end one first`)
  }
}

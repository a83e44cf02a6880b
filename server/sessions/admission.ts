import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/principal.ts'

/** The number of quotas at which idle ones are first removed. */
const SWEEP_QUOTAS = 64

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

  /** Adds `n` tokens ahead of time. The bucket never holds more than its burst. */
  give(n: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + n)
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

/** Limits by which a quota is counted. */
type QuotaLimits = Pick<
  Limits,
  | 'maxRuns'
  | 'maxConnections'
  | 'startsPerSec'
  | 'startBurst'
  | 'principalsPerPool'
  | 'messagesPerSec'
  | 'maxParkedBytes'
>

/**
 * What one principal uses of a node: its live runs, what of them is stored while they wait, its connections, and its
 * starts per second. The principals of a pool also use the quota of the pool, which is `principalsPerPool` times as large.
 */
export class Quota {
  liveRuns = 0
  connections = 0
  #parkedBytes = 0
  readonly #limits: QuotaLimits
  readonly #isPool: boolean
  /** How many times as large as the limits of one principal it is. */
  readonly #size: number
  readonly #starts: TokenBucket
  readonly #runtime: Runtime
  /** Made for the first request over plain HTTP. */
  #requests: TokenBucket | undefined
  /** The quota of its pool, if it has one. */
  readonly pool: Quota | undefined

  constructor(runtime: Runtime, limits: QuotaLimits, whose: 'principal' | 'pool', pool?: Quota) {
    this.#limits = limits
    this.#isPool = whose === 'pool'
    const size = this.#isPool ? limits.principalsPerPool : 1
    this.#size = size
    this.pool = pool
    this.#runtime = runtime
    this.#starts = new TokenBucket(runtime, limits.startsPerSec * size, limits.startBurst * size)
  }

  /** Whether nothing is in use, so that the quota can be forgotten. */
  get idle(): boolean {
    return this.liveRuns === 0 && this.connections === 0 && this.#starts.full && this.#requests?.full !== false
  }

  /**
   * Counts one START or ATTACH.
   * @throws MillraceError `rate_limited`, with the milliseconds to wait in `details.afterMs`.
   */
  takeStart(): void {
    if (this.#starts.take()) return this.pool?.takeStart()
    throw new MillraceError('rate_limited', 'too many starts and attaches at once; try again later', {
      details: { afterMs: this.#starts.waitMs },
    })
  }

  /**
   * Counts one request over plain HTTP, which may be any.
   * @throws MillraceError `rate_limited`, with the milliseconds to wait in `details.afterMs`.
   */
  takeRequest(): void {
    const { messagesPerSec } = this.#limits
    this.#requests ??= new TokenBucket(this.#runtime, messagesPerSec * this.#size, messagesPerSec * this.#size)
    if (this.#requests.take()) return this.pool?.takeRequest()
    throw new MillraceError('rate_limited', 'too many requests at once; try again later', {
      details: { afterMs: this.#requests.waitMs },
    })
  }

  /** @throws MillraceError `overloaded` when the principal has `maxRuns` live runs, or its pool has all of its own. */
  checkRuns(): void {
    const { maxRuns, principalsPerPool } = this.#limits
    if (this.liveRuns >= maxRuns * this.#size)
      throw new MillraceError(
        'overloaded',
        this.#isPool
          ? `the principals of your pool have ${maxRuns * principalsPerPool} live runs, the maximum (maxRuns x principalsPerPool); try again later`
          : `you have ${maxRuns} live runs, the maximum; end one first`,
      )
    this.pool?.checkRuns()
  }

  /** A run begins. Call `runSettled` when it has settled. */
  runBegins(): void {
    this.liveRuns++
    this.pool?.runBegins()
  }

  runSettled(): void {
    this.liveRuns--
    this.pool?.runSettled()
  }

  /**
   * What the store keeps of a waiting run takes `bytes` from now on, in place of `before`. Returns false, and counts
   * nothing, when that is more than the principal, or its pool, may have.
   */
  takeParked(bytes: number, before: number): boolean {
    const more = bytes - before
    if (more > 0 && this.#parkedBytes + more > this.#limits.maxParkedBytes * this.#size) return false
    if (this.pool?.takeParked(bytes, before) === false) return false
    this.#parkedBytes += more
    return true
  }

  /** A connection opens. Call `disconnected` when it is closed. */
  connected(): void {
    this.connections++
    this.pool?.connected()
  }

  disconnected(): void {
    this.connections--
    this.pool?.disconnected()
  }

  /** What the principal, or its pool, has too many connections for. Undefined while there is room. */
  get connectionFault(): string | undefined {
    const { maxConnections, principalsPerPool } = this.#limits
    if (this.connections <= maxConnections * this.#size) return this.pool?.connectionFault
    if (!this.#isPool) return `this principal has more than ${maxConnections} connections`
    return `more than ${maxConnections * principalsPerPool} connections of one pool (maxConnections x principalsPerPool)`
  }
}

/** The quotas of all principals of a node, and of their pools. A quota is kept as long as anything of it is in use. */
export class Quotas {
  readonly #runtime: Runtime
  readonly #limits: QuotaLimits
  readonly #principals = new Map<string, Quota>()
  readonly #pools = new Map<string, Quota>()
  /** The number of quotas at which the idle ones are removed. */
  #sweepAt = SWEEP_QUOTAS

  constructor(runtime: Runtime, limits: QuotaLimits) {
    this.#runtime = runtime
    this.#limits = limits
  }

  of({ id, pool }: Principal): Quota {
    const known = this.#principals.get(id)
    if (known) return known
    if (this.#principals.size >= this.#sweepAt) this.#sweep()
    const quota = new Quota(
      this.#runtime,
      this.#limits,
      'principal',
      pool === undefined ? undefined : this.#poolOf(pool),
    )
    this.#principals.set(id, quota)
    return quota
  }

  #poolOf(pool: string): Quota {
    const known = this.#pools.get(pool)
    if (known) return known
    const quota = new Quota(this.#runtime, this.#limits, 'pool')
    this.#pools.set(pool, quota)
    return quota
  }

  /** Removes idle quotas. A pool stays as long as a quota that counts in it. */
  #sweep(): void {
    for (const [id, quota] of this.#principals) if (quota.idle) this.#principals.delete(id)
    const used = new Set(Array.from(this.#principals.values(), ({ pool }) => pool))
    for (const [name, quota] of this.#pools) if (quota.idle && !used.has(quota)) this.#pools.delete(name)
    this.#sweepAt = Math.max(SWEEP_QUOTAS, this.#principals.size * 2)
  }
}

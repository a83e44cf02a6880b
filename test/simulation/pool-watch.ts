import { remote } from '../../server/index.ts'
import { RedisHost } from './redis-host.ts'
import type { Stage } from './stage.ts'

/** The pool of all workers, and how long a run may wait in it. */
export const POOL = 'far'
const WAIT_MS = 3_000

/** The pool of a cluster. Once it is full, it takes no run any more; one that a worker gives back goes to it again. */
export class PoolWatch {
  readonly #stage: Stage
  readonly #prefix: string
  /** How many runs may wait in it, and in each Redis. */
  readonly #most: number
  readonly #share: number
  /** Runs that have waited in it. */
  readonly #runs = new Set<string>()
  #wasFull = false

  /** @param prefix of all keys. @param shards how many Redis there are. */
  constructor(stage: Stage, prefix: string, most: number, shards: number) {
    this.#stage = stage
    this.#prefix = prefix
    this.#most = most
    this.#share = Math.ceil(most / shards)
  }

  /** How many runs have come to it. */
  get size(): number {
    return this.#runs.size
  }

  /** A start may have been refused. */
  get wasFull(): boolean {
    return this.#wasFull
  }

  /** The actor that its workers execute as `work`. */
  get actor(): ReturnType<typeof remote> {
    return remote('work', { pool: POOL, waitMs: WAIT_MS, maxWaiting: this.#most })
  }

  /** A Redis that has a share of it. */
  makeHost(): RedisHost {
    const key = `${this.#prefix}:w:${POOL}`
    return new RedisHost(this.#stage, (host, channel, run) => {
      if (channel !== key || this.#runs.has(run)) return
      this.#runs.add(run)
      const waiting = host.waitingIn(key)
      this.#wasFull ||= waiting >= this.#share
      if (waiting > this.#share) this.#stage.fail('pool-too-full', `${waiting} runs wait`)
    })
  }
}

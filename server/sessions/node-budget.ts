import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'

/** Least time between two counts of the logs of live runs. */
const COUNT_MS = 250

/** What a node keeps, as its budget counts it. */
export type NodeUse = {
  /** The runs that have not settled. */
  readonly live: ReadonlySet<{ readonly log: { readonly size: number } }>
  /** The bytes of ended runs. */
  readonly endedBytes: () => number
  /** Drops ended runs, the oldest first, until at most `bytes` of them are left. */
  shrinkEnded(bytes: number): void
}

/** What all principals of a node may use together. It is asked before a run begins. */
export class NodeBudget {
  readonly #runtime: Runtime
  readonly #limits: Pick<Limits, 'maxRunsTotal' | 'maxLogsTotal'>
  readonly #use: NodeUse
  #countedAt = Number.NEGATIVE_INFINITY
  /** The bytes of the logs of live runs when they were last counted. */
  #liveBytes = 0

  constructor(runtime: Runtime, limits: Pick<Limits, 'maxRunsTotal' | 'maxLogsTotal'>, use: NodeUse) {
    this.#runtime = runtime
    this.#limits = limits
    this.#use = use
  }

  /**
   * Checks that the node has room for another run. Logs of live runs come first: ended runs are dropped for them.
   * @throws MillraceError `overloaded` when the node has `maxRunsTotal` live runs, or when the logs of live runs alone
   * take `maxLogsTotal`.
   */
  checkRoom(): void {
    const { maxRunsTotal, maxLogsTotal } = this.#limits
    if (this.#use.live.size >= maxRunsTotal)
      throw overloaded(`the server has ${maxRunsTotal} live runs, as many as its limit maxRunsTotal allows`)
    this.#count()
    if (this.#liveBytes >= maxLogsTotal)
      throw overloaded(`the logs of live runs take ${maxLogsTotal} bytes, as many as the limit maxLogsTotal allows`)
    if (this.#liveBytes + this.#use.endedBytes() > maxLogsTotal) this.#use.shrinkEnded(maxLogsTotal - this.#liveBytes)
  }

  /** One look at each live run, but not for each START: a node may have thousands of both. */
  #count(): void {
    const now = this.#runtime.now()
    if (now - this.#countedAt < COUNT_MS) return
    this.#countedAt = now
    this.#liveBytes = 0
    for (const { log } of this.#use.live) this.#liveBytes += log.size
  }
}

function overloaded(why: string): MillraceError {
  return new MillraceError('overloaded', `${why}; try again later`)
}

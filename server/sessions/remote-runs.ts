import type { Principal } from '../actors/principal.ts'
import { RemoteRun, type RemoteRunCallbacks } from '../runs/remote-run.ts'
import { StopAsks, type StopAsksCallbacks } from '../runs/stop-asks.ts'
import type { StoredRun } from '../stores/run-store.ts'

type RemoteRunsCallbacks = Omit<RemoteRunCallbacks, 'stops' | 'closed'> & StopAsksCallbacks

/**
 * The runs of other nodes that are read in this one. All readers of a run share what is here of it, unless one begins
 * before that.
 */
export class RemoteRuns {
  readonly #node: RemoteRunsCallbacks
  readonly #open = new Map<string, Set<RemoteRun>>()
  readonly #stops: StopAsks

  constructor(node: RemoteRunsCallbacks) {
    this.#node = node
    this.#stops = new StopAsks(node)
  }

  /** The number of runs with which a reader may begin. */
  get size(): number {
    return this.#open.size
  }

  /** Asks nothing more of other nodes. Resolves when they can hear what was asked. */
  async close(): Promise<void> {
    await this.#stops.close()
  }

  /**
   * The run, for a reader behind item `after`; null: behind the last one.
   * @throws MillraceError `store_unavailable`
   */
  async view(stored: StoredRun, principal: Principal, after: number | null): Promise<RemoteRun> {
    // Those that begin meanwhile come last.
    for (const known of this.#open.get(stored.id) ?? []) {
      await known.opened
      // One that has not heard of the last life would take a position in it for a lost one.
      if (known.log.gen >= stored.gen && known.serves(after)) return known.ready(after)
    }
    return this.#follow(stored, principal, after === null ? stored.next : after + 1).ready(after)
  }

  #follow(stored: StoredRun, principal: Principal, from: number): RemoteRun {
    const closed = (run: RemoteRun): void => this.#remove(run)
    const run = new RemoteRun(stored, principal, from, { ...this.#node, stops: this.#stops, closed })
    this.#open.set(stored.id, (this.#open.get(stored.id) ?? new Set()).add(run))
    return run
  }

  #remove(run: RemoteRun): void {
    const open = this.#open.get(run.id)
    if (open?.delete(run) && open.size === 0) this.#open.delete(run.id)
  }
}

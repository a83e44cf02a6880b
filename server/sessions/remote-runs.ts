import type { Principal } from '../actors/principal.ts'
import { RemoteRun, type RemoteRunCallbacks } from '../runs/remote-run.ts'
import type { StoredRun } from '../stores/run-store.ts'

/**
 * The runs of other nodes that are read in this one. All readers of a run share what is here of it, unless one begins
 * before that.
 */
export class RemoteRuns {
  readonly #node: Omit<RemoteRunCallbacks, 'closed'>
  readonly #open = new Map<string, RemoteRun[]>()

  constructor(node: Omit<RemoteRunCallbacks, 'closed'>) {
    this.#node = node
  }

  /**
   * The run, for a reader behind item `after`; null: behind the last one.
   * @throws MillraceError `store_unavailable`
   */
  async view(stored: StoredRun, principal: Principal, after: number | null): Promise<RemoteRun> {
    const known = this.#open.get(stored.id)?.find((run) => run.serves(after))
    const run = known ?? this.#follow(stored, principal, after === null ? stored.next : after + 1)
    await run.open()
    await run.has(after)
    return run
  }

  #follow(stored: StoredRun, principal: Principal, from: number): RemoteRun {
    const run = new RemoteRun(stored, principal, from, { ...this.#node, closed: (closed) => this.#remove(closed) })
    this.#open.set(stored.id, [...(this.#open.get(stored.id) ?? []), run])
    return run
  }

  #remove(run: RemoteRun): void {
    const left = (this.#open.get(run.id) ?? []).filter((other) => other !== run)
    if (left.length > 0) this.#open.set(run.id, left)
    else this.#open.delete(run.id)
  }
}

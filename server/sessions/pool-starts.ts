import type { RunStore, SharedRuns } from '../stores/run-store.ts'

/** The runs of pools that began in this process, until they have ended: their principals have them. */
export class PoolStarts {
  readonly #store: Pick<RunStore, 'find'>
  readonly #shared: Pick<SharedRuns, 'follow'>
  readonly #open = new Map<string, { readonly ended: () => void; stop: () => void }>()

  constructor(store: Pick<RunStore, 'find'>, shared: Pick<SharedRuns, 'follow'>) {
    this.#store = store
    this.#shared = shared
  }

  /** @param ended called once, when the run has ended, or is in the store no more. */
  watch(id: string, ended: () => void): void {
    const start = { ended, stop: () => {} }
    this.#open.set(id, start)
    void this.#shared
      .follow(id, (batch) => {
        if (!batch) void this.#look(id)
      })
      .then((stop) => {
        if (this.#open.has(id)) start.stop = stop
        else stop()
        // It may have ended before.
        void this.#look(id)
      })
  }

  /** Watches nothing any more. */
  close(): void {
    for (const { stop } of this.#open.values()) stop()
    this.#open.clear()
  }

  async #look(id: string): Promise<void> {
    try {
      const run = await this.#store.find(id)
      if (run && !run.end) return
    } catch {
      // The next look, which comes in any case, finds out.
      return
    }
    const start = this.#open.get(id)
    if (!start) return
    this.#open.delete(id)
    start.stop()
    start.ended()
  }
}

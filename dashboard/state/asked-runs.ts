import type { FleetRun } from './fleet.ts'
import type { OpenRequest, RunDetails, ServerApi } from './server-api.ts'
import { createStore, type Store } from './store.ts'

/** A run that waits for a person, and what it asks. */
export type Asked = { readonly run: FleetRun; readonly details: RunDetails }

/** The most runs that are asked about. */
const MAX_ASKED = 50
/** A run that says it waits, and of which no question is known, is asked about again after so many milliseconds. */
const AGAIN_MS = 1_000

type Known = { readonly items: number; readonly askedAt: number; readonly details: RunDetails | undefined }

/**
 * The questions of the runs that wait for a person. They are asked for by the id of the run, which no run notices: it is
 * not read for that.
 */
export class AskedRuns {
  readonly asked: Store<readonly Asked[]>
  readonly #store = createStore<readonly Asked[]>([])
  readonly #api: Pick<ServerApi, 'run'>
  readonly #now: () => number
  #known = new Map<string, Known>()
  #waiting: readonly FleetRun[] = []
  #isAsking = false

  constructor(api: Pick<ServerApi, 'run'>, now: () => number = Date.now) {
    this.asked = this.#store
    this.#api = api
    this.#now = now
  }

  /** Takes over the runs as they are now. */
  look(runs: readonly FleetRun[]): void {
    // A parent passes on what its children ask.
    const ids = new Set(runs.map(({ id }) => id))
    const waits = ({ state, parent }: FleetRun): boolean =>
      state === 'waiting_input' && (parent === undefined || !ids.has(parent))
    this.#waiting = runs.filter(waits).slice(0, MAX_ASKED)
    this.#known = new Map(this.#waiting.flatMap(({ id }) => (this.#known.has(id) ? [[id, this.#known.get(id)!]] : [])))
    this.#show()
    void this.#ask()
  }

  /** A question was answered: it is shown no more. */
  answered(id: string, request: string): void {
    const known = this.#known.get(id)
    if (!known?.details) return
    const pending = known.details.pending.filter((open: OpenRequest) => open.request !== request)
    this.#known.set(id, { ...known, details: { ...known.details, pending } })
    this.#show()
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    try {
      for (const { id, items } of this.#waiting) {
        const known = this.#known.get(id)
        const isEmpty = !known?.details?.pending.length
        if (known?.items === items && !(isEmpty && this.#now() - known.askedAt >= AGAIN_MS)) continue
        const details = await this.#api.run(id).catch(() => undefined)
        if (!this.#waiting.some((run) => run.id === id)) continue
        this.#known.set(id, { items, askedAt: this.#now(), details })
        this.#show()
      }
    } finally {
      this.#isAsking = false
    }
  }

  #show(): void {
    const before = this.#store.get()
    const asked = this.#waiting.flatMap((run): Asked[] => {
      const details = this.#known.get(run.id)?.details
      if (!details || details.pending.length === 0) return []
      const same = before.find((one) => one.run === run && one.details === details)
      return [same ?? { run, details }]
    })
    if (asked.length !== before.length || asked.some((one, at) => one !== before[at])) this.#store.set(asked)
  }
}

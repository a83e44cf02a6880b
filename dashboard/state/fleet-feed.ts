import {
  type Client,
  type InspectedSession,
  InspectorState,
  type InspectorUpdate,
  MillraceError,
} from 'millrace/client'
import { type Stuck, StuckWatch } from './attention.ts'
import { Fleet, type FleetRuns } from './fleet.ts'
import { Series } from './series.ts'
import { createStore, type Store } from './store.ts'

/** All that is known of the server, at one moment. */
export type FleetState = FleetRuns & {
  /** Whether the first report has arrived. */
  readonly isLoaded: boolean
  /** Whose runs these are: `all`, or one's `own`. */
  readonly scope: 'all' | 'own' | undefined
  /** The time of the report, by the server's clock. */
  readonly at: number
  readonly sessions: readonly InspectedSession[]
  readonly stuck: readonly Stuck[]
  /** Items per second of all runs together. */
  readonly itemsPerSec: number
  /** Why there are no reports: such as a server without an inspector. */
  readonly error: MillraceError | undefined
}

/** Between two reports, in milliseconds. */
const EVERY_MS = 500
/** Before the inspector is started again, in milliseconds. */
const AGAIN_MS = 1_000
/** How long rates are kept for plots, in milliseconds. */
const SPAN_MS = 120_000
/** With these, another try would be refused as well. `not_found`: there is no such actor. */
const FINAL = ['unauthenticated', 'forbidden', 'not_found', 'unsupported']

/** Reads what the server reports of its runs: from an inspector, and from the list of one's own runs. */
export class FleetFeed {
  readonly state: Store<FleetState>
  /** Items per second of all runs together, over time. */
  readonly total: Series = new Series(SPAN_MS)
  readonly #client: Client
  readonly #fleet = new Fleet()
  readonly #stuck = new StuckWatch()
  readonly #rates = new Map<string, Series>()
  readonly #store = createStore<FleetState>({
    ...{ all: [], byId: new Map(), children: new Map(), isLoaded: false, scope: undefined, at: 0, sessions: [] },
    ...{ stuck: [], itemsPerSec: 0, error: undefined },
  })
  #inspected = new InspectorState()
  /** How much the clock of the server is ahead of that of the page, in milliseconds. */
  #aheadMs = 0

  constructor(client: Client) {
    this.#client = client
    this.state = this.#store
  }

  /** The time by the server's clock, in epoch milliseconds, as the reports have it. */
  readonly now = (): number => Date.now() + this.#aheadMs

  /** Items per second of one run, over time. */
  rateOf(id: string): Series {
    return this.#rates.get(id) ?? new Series(SPAN_MS)
  }

  /** Begins to read. @returns a function that stops it. */
  start(): () => void {
    const left = new AbortController()
    void this.#inspect(left.signal)
    void this.#list(left.signal)
    return () => left.abort()
  }

  async #inspect(left: AbortSignal): Promise<void> {
    while (!left.aborted) {
      this.#inspected = new InspectorState()
      // Ended by the deadline of every run, it is started again.
      const run = this.#client.start(
        'inspector',
        { everyMs: EVERY_MS, all: true },
        { onDetach: 'cancel', signal: left },
      )
      try {
        for await (const event of run)
          if (event.type === 'data' && event.name === 'inspector') this.#take(event.value as InspectorUpdate)
      } catch (thrown) {
        const error = MillraceError.from(thrown)
        if (left.aborted) return
        // A run that was opened and is not found any more was that of a server that has begun anew.
        if (FINAL.includes(error.code) && run.id === undefined) {
          this.#store.set({ ...this.#store.get(), isLoaded: true, error })
          return
        }
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
    }
  }

  async #list(left: AbortSignal): Promise<void> {
    while (!left.aborted) {
      const lists = this.#client.runs({ watch: true })
      const leave = (): void => void lists.return?.()
      left.addEventListener('abort', leave)
      try {
        for await (const runs of lists) {
          this.#fleet.list(runs)
          this.#show()
        }
      } catch (thrown) {
        if (FINAL.includes(MillraceError.from(thrown).code)) return
      }
      left.removeEventListener('abort', leave)
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
    }
  }

  #take(update: InspectorUpdate): void {
    const inspected = this.#inspected
    this.#fleet.take(inspected.take(update), inspected.scope, update.scope !== undefined)
    if (!inspected.isPartial) this.#show(inspected.at)
  }

  /** @param at the time of a new report. Undefined: only the list has changed. */
  #show(at?: number): void {
    const before = this.#store.get()
    const runs = this.#fleet.runs()
    let { stuck, itemsPerSec } = before
    if (at !== undefined) {
      this.#aheadMs = at - Date.now()
      stuck = this.#stuck.look(runs.all, at)
      itemsPerSec = 0
      for (const { id, live } of runs.all) {
        if (!live) continue
        itemsPerSec += live.itemsPerSec
        let rates = this.#rates.get(id)
        if (!rates) this.#rates.set(id, (rates = new Series(SPAN_MS)))
        rates.push(at, live.itemsPerSec)
      }
      this.total.push(at, itemsPerSec)
      for (const id of this.#rates.keys()) if (!runs.byId.has(id)) this.#rates.delete(id)
    }
    const { scope, sessions } = this.#inspected
    this.#store.set({
      ...runs,
      ...{
        isLoaded: before.isLoaded || at !== undefined,
        scope,
        at: at ?? before.at,
        sessions: at === undefined ? before.sessions : [...sessions.values()],
      },
      ...{ stuck, itemsPerSec, error: at === undefined ? before.error : undefined },
    })
  }
}

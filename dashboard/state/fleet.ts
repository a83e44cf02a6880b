import type { InspectedRun, InspectorChanges, ListedRun, RunState } from 'millrace/client'

/** A run as the page lists it. */
export type FleetRun = {
  readonly id: string
  readonly actor: string
  /** Its principal, as the inspector names it. Undefined for an earlier run of one's own. */
  readonly principal: string | undefined
  readonly parent: string | undefined
  readonly state: RunState
  readonly outcome: 'done' | 'error' | 'cancelled' | undefined
  readonly startedAt: number
  /** Whether it belongs to the principal of this page. */
  readonly isOwn: boolean
  /** Its figures, while it keeps its slot. */
  readonly live: InspectedRun | undefined
  /** The number of items that it has logged, as far as it is known. */
  readonly items: number
}

/** All runs, at one moment. */
export type FleetRuns = {
  /** Those that go on, and then those that have ended; of each the newest first. */
  readonly all: readonly FleetRun[]
  readonly byId: ReadonlyMap<string, FleetRun>
  /** The children of each run that has some. */
  readonly children: ReadonlyMap<string, readonly FleetRun[]>
}

/** Ended runs of others that are remembered. Those of one's own are on the server's list. */
const MAX_GONE = 200

/** The runs that an inspector reports, and those on the list of one's own, as one list. */
export class Fleet {
  readonly #live = new Map<string, InspectedRun>()
  readonly #gone = new Map<string, InspectedRun>()
  #listed: ReadonlyMap<string, ListedRun> = new Map()
  #known = new Map<string, FleetRun>()
  #scope: 'all' | 'own' | undefined

  /** Takes over what an inspector has reported. @param isWhole what was known before no longer counts. */
  take(
    { runs, goneRuns }: Pick<InspectorChanges, 'runs' | 'goneRuns'>,
    scope: 'all' | 'own' | undefined,
    isWhole: boolean,
  ): void {
    this.#scope = scope
    if (isWhole) this.#live.clear()
    for (const run of runs) if (!run.inspector) this.#live.set(run.id, run)
    for (const run of goneRuns) {
      this.#live.delete(run.id)
      if (!run.inspector) this.#gone.set(run.id, run)
    }
    for (const id of this.#gone.keys()) {
      if (this.#gone.size <= MAX_GONE) break
      this.#gone.delete(id)
    }
  }

  /** Takes over the list of the runs of one's own. */
  list(runs: readonly ListedRun[]): void {
    this.#listed = new Map(runs.map((run) => [run.id, run]))
  }

  /** All runs as they are now. Those that did not change stay the same objects. */
  runs(): FleetRuns {
    const known = new Map<string, FleetRun>()
    for (const run of this.#live.values()) known.set(run.id, this.#same(this.#inspected(run, true)))
    for (const run of this.#listed.values())
      if (run.actor !== 'inspector' && !known.has(run.id)) known.set(run.id, this.#same(this.#ended(run)))
    for (const run of this.#gone.values())
      if (!known.has(run.id)) known.set(run.id, this.#same(this.#inspected(run, false)))
    this.#known = known
    const children = new Map<string, FleetRun[]>()
    for (const run of known.values()) {
      if (run.parent === undefined) continue
      const of = children.get(run.parent)
      if (of) of.push(run)
      else children.set(run.parent, [run])
    }
    const all = [...known.values()].sort(
      (a, b) => rank(a) - rank(b) || b.startedAt - a.startedAt || (a.id < b.id ? -1 : 1),
    )
    return { all, byId: known, children }
  }

  #inspected(run: InspectedRun, isLive: boolean): FleetRun {
    const { id, actor, principal, parent, startedAt, items, outcome } = run
    const state = isLive ? run.state : 'ended'
    return {
      id,
      actor,
      principal,
      parent,
      state,
      outcome,
      startedAt,
      items,
      isOwn: this.#isOwn(run),
      live: isLive ? run : undefined,
    }
  }

  #ended({ id, actor, state, outcome, startedAt, seq }: ListedRun): FleetRun {
    return {
      id,
      actor,
      principal: undefined,
      parent: undefined,
      state,
      outcome,
      startedAt,
      items: seq,
      isOwn: true,
      live: undefined,
    }
  }

  /** A child belongs to whom its first parent belongs to. */
  #isOwn({ id, parent }: InspectedRun): boolean {
    if (this.#scope === 'own' || this.#listed.has(id)) return true
    const above = parent === undefined ? undefined : (this.#live.get(parent) ?? this.#gone.get(parent))
    return above !== undefined && this.#isOwn(above)
  }

  #same(run: FleetRun): FleetRun {
    const before = this.#known.get(run.id)
    if (!before) return run
    const names = Object.keys(run) as (keyof FleetRun)[]
    return names.every((name) => before[name] === run[name]) ? before : run
  }
}

/** Whether a run goes on, or keeps its slot though it has ended. */
export function isLive({ state, live }: Pick<FleetRun, 'state' | 'live'>): boolean {
  return live !== undefined || state !== 'ended'
}

function rank(run: FleetRun): number {
  return isLive(run) ? 0 : 1
}

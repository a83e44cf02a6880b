import type { ListedFacts, RunState, WireMap } from '../../protocol/frames.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/principal.ts'
import type { Log } from '../log/log.ts'
import type { LoggedEnd } from '../log/logged-end.ts'

/** The most runs of one principal that are listed. Of more, the ended ones that began first are left out. */
const MAX_LISTED = 10_000

/** A run as a list shows it. */
export interface ListableRun {
  readonly id: string
  readonly actorName: string
  readonly principal: Principal
  readonly state: RunState
  readonly options: { readonly meta: WireMap | undefined }
  readonly log: Pick<Log, 'gen' | 'last'>
  readonly end: Pick<LoggedEnd, 'outcome'> | undefined
}

/** A place on a list: one run, from its beginning until it is no longer kept. */
export class ListedRun {
  /** Its number on the list. It rises from run to run. */
  readonly n: number
  /** False once the run is no longer kept. */
  isKept = true
  readonly run: ListableRun
  /** In epoch milliseconds. */
  readonly #startedAt: number

  constructor(n: number, run: ListableRun, startedAt: number) {
    this.n = n
    this.run = run
    this.#startedAt = startedAt
  }

  get id(): string {
    return this.run.id
  }

  get hasEnded(): boolean {
    return this.run.end !== undefined
  }

  /** What a list shows of the run as it is now. */
  facts(): ListedFacts {
    const { actorName: actor, state, end, log, options } = this.run
    return {
      actor,
      state,
      ...(end && { outcome: end.outcome }),
      gen: log.gen,
      seq: log.last,
      startedAt: this.#startedAt,
      ...(options.meta && { meta: options.meta }),
    }
  }
}

/** Watches a list. */
export interface ListWatcher {
  /** A run is new, its state has changed, or it is no longer kept. More items of a run are no change. */
  changed(listed: ListedRun): void
}

/** The runs of one principal that the server knows, in the order in which they began, and who watches them. */
class RunList {
  readonly runs = new Map<string, ListedRun>()
  readonly watchers = new Set<ListWatcher>()
  last = 0
}

/**
 * The list of each principal: its live runs, and the ended ones whose log is kept. Child runs are not listed; the events
 * of their parents name them. The cost of a change does not depend on how many runs are listed.
 */
export class RunLists {
  readonly #runtime: Runtime
  readonly #lists = new Map<string, RunList>()

  /** @param runtime its wall clock says when a run began. */
  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  /** The number of principals that have a list. */
  get size(): number {
    return this.#lists.size
  }

  /** The runs of a principal, in the order in which they began. A run that is added meanwhile comes at the end. */
  of({ id }: Principal): Iterable<ListedRun, undefined> {
    return this.#lists.get(id)?.runs.values() ?? []
  }

  /** The place of a run on the list of its principal. Undefined for a child, and for a run that is not listed. */
  find({ id }: Principal, run: string): ListedRun | undefined {
    return this.#lists.get(id)?.runs.get(run)
  }

  /** Adds a run that begins. */
  add(run: ListableRun): void {
    const list = this.#listOf(run.principal)
    const listed = new ListedRun(++list.last, run, Math.floor(this.#runtime.wallClock()))
    list.runs.set(run.id, listed)
    this.#report(list, listed)
    if (list.runs.size > MAX_LISTED) this.#dropOldest(run.principal, list)
  }

  /** The state of a run has changed. */
  changed(run: ListableRun): void {
    const list = this.#lists.get(run.principal.id)
    const listed = list?.runs.get(run.id)
    if (list && listed) this.#report(list, listed)
  }

  /** The run is no longer kept. */
  remove({ id, principal }: ListableRun): void {
    const list = this.#lists.get(principal.id)
    const listed = list?.runs.get(id)
    if (list && listed) this.#remove(principal, list, listed)
  }

  /** Reports the changes of a principal's list to `watcher`, from now on until it leaves. */
  watch(principal: Principal, watcher: ListWatcher): void {
    this.#listOf(principal).watchers.add(watcher)
  }

  leave(principal: Principal, watcher: ListWatcher): void {
    const list = this.#lists.get(principal.id)
    if (list?.watchers.delete(watcher)) this.#tidy(principal, list)
  }

  #listOf({ id }: Principal): RunList {
    const list = this.#lists.get(id) ?? new RunList()
    this.#lists.set(id, list)
    return list
  }

  #report(list: RunList, listed: ListedRun): void {
    for (const watcher of list.watchers) watcher.changed(listed)
  }

  #dropOldest(principal: Principal, list: RunList): void {
    for (const listed of list.runs.values()) if (listed.hasEnded) return this.#remove(principal, list, listed)
  }

  #remove(principal: Principal, list: RunList, listed: ListedRun): void {
    list.runs.delete(listed.id)
    listed.isKept = false
    this.#report(list, listed)
    this.#tidy(principal, list)
  }

  /** Forgets a list that nobody needs. */
  #tidy({ id }: Principal, list: RunList): void {
    if (list.runs.size === 0 && list.watchers.size === 0) this.#lists.delete(id)
  }
}

import type { ListedFacts, RunState, WireMap } from '../../protocol/frames.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/principal.ts'
import type { Log } from '../log/log.ts'
import type { LoggedEnd } from '../log/logged-end.ts'
import { unpackPayload } from '../log/payload.ts'
import { wallClockAt } from '../runtime.ts'
import type { StoredRunSummary } from '../stores/run-store.ts'

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
  /** By the monotonic clock of the runtime. */
  readonly startedAt: number
}

/** What the store knows of the runs of a principal: the newest first, at most so many. */
export type PastRuns = (principal: string, most: number) => Promise<readonly StoredRunSummary[]>

/** A run of which only the store has anything, as a list shows it. */
type PastRun = Omit<ListableRun, 'startedAt'>

/** A place on a list: one run, from its beginning until it is no longer kept. */
export class ListedRun {
  /** Its number on the list. It rises from run to run. */
  n: number
  /** False once the run is no longer kept. */
  isKept = true
  /** Only the store has it, or had it when the list was read. */
  isPast: boolean
  /** In epoch milliseconds. */
  readonly startedAt: number
  #run: PastRun

  constructor(n: number, run: PastRun, startedAt: number, isPast: boolean) {
    this.n = n
    this.#run = run
    this.startedAt = startedAt
    this.isPast = isPast
  }

  get run(): PastRun {
    return this.#run
  }

  /** From now on, only the store has it. */
  forget(): void {
    const { id, actorName, principal, state, options, log, end } = this.#run
    const { gen, last } = log
    const outcome = end && { outcome: end.outcome }
    this.#run = { id, actorName, principal, state, options: { meta: options.meta }, log: { gen, last }, end: outcome }
    this.isPast = true
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
      startedAt: this.startedAt,
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
  /** How many read it. */
  readers = 0
  /** Resolves once the runs that only the store has are on it. */
  past: Promise<void> | undefined
}

/**
 * The list of each principal: its live runs, and the ended ones whose log is kept, here or in a store. Child runs are not
 * listed; the events of their parents name them. The cost of a change does not depend on how many runs are listed. Runs
 * that only the store has are on a list while somebody reads it.
 */
export class RunLists {
  readonly #runtime: Runtime
  readonly #lists = new Map<string, RunList>()
  readonly #pastRuns: PastRuns | undefined

  /**
   * @param runtime its clocks say when a run began.
   * @param pastRuns absent where nothing is stored.
   */
  constructor(runtime: Runtime, pastRuns?: PastRuns) {
    this.#runtime = runtime
    this.#pastRuns = pastRuns
  }

  /**
   * Puts the runs on the list of a principal that only the store has. Enter or read the list in the loop turn in which
   * this resolves. Undefined: they are there, or nothing is stored.
   * @throws MillraceError `store_unavailable`.
   */
  complete(principal: Principal): Promise<void> | undefined {
    const pastRuns = this.#pastRuns
    if (!pastRuns) return undefined
    const list = this.#listOf(principal)
    if (list.readers > 0) return undefined
    list.past ??= this.#readPast(principal, list, pastRuns)
    return list.past
  }

  async #readPast(principal: Principal, list: RunList, pastRuns: PastRuns): Promise<void> {
    try {
      const past = await pastRuns(principal.id, MAX_LISTED)
      const known = [...list.runs.values()]
      const room = Math.max(0, MAX_LISTED - known.length)
      const others = past.filter(({ id }) => !list.runs.has(id)).slice(0, room)
      const all = [...others.reverse().map((summary) => pastRun(principal, summary)), ...known]
      all.sort((a, b) => a.startedAt - b.startedAt)
      list.runs.clear()
      list.last = 0
      for (const listed of all) {
        listed.n = ++list.last
        list.runs.set(listed.id, listed)
      }
    } finally {
      list.past = undefined
      this.#runtime.nextTurn(() => this.#tidy(principal, list))
    }
  }

  /** Somebody begins to read the list of a principal. */
  enter(principal: Principal): void {
    this.#listOf(principal).readers++
  }

  /** Somebody who has entered reads it no more. */
  exit(principal: Principal): void {
    const list = this.#lists.get(principal.id)
    if (!list) return
    list.readers--
    this.#tidy(principal, list)
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
    const listed = new ListedRun(++list.last, run, wallClockAt(this.#runtime, run.startedAt), false)
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

  /** The run is no longer kept. @param isStored whether the store still has it. */
  remove({ id, principal }: ListableRun, isStored = false): void {
    const list = this.#lists.get(principal.id)
    const listed = list?.runs.get(id)
    if (!list || !listed) return
    if (isStored && list.readers > 0) listed.forget()
    else this.#remove(principal, list, listed)
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

  /** Forgets what nobody needs of a list. */
  #tidy({ id }: Principal, list: RunList): void {
    if (list.readers > 0 || list.past) return
    for (const listed of [...list.runs.values()]) if (listed.isPast) list.runs.delete(listed.id)
    if (list.runs.size === 0 && list.watchers.size === 0) this.#lists.delete(id)
  }
}

/** A run that only the store has. */
function pastRun(principal: Principal, summary: StoredRunSummary): ListedRun {
  const { id, actor: actorName, startedAt, gen, next, outcome, isParked, meta } = summary
  const state: RunState = outcome ? 'ended' : isParked ? 'waiting_input' : 'running'
  const options = { meta: meta && (unpackPayload(meta) as WireMap) }
  const end = outcome && { outcome }
  const run = { id, actorName, principal, state, options, log: { gen, last: next - 1 }, end }
  return new ListedRun(0, run, startedAt, true)
}

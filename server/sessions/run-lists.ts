import type { ListedFacts } from '../../protocol/frames.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/principal.ts'
import { newestFirst } from '../stores/list-order.ts'
import type { ListPosition, StoredRunSummary } from '../stores/run-store.ts'
import { type ListableRun, ListedRun } from './listed-run.ts'

/** The most runs of one principal that are listed. Of more, the ended ones that began first are left out. */
const MAX_LISTED = 10_000
/** How many runs of the store are looked at together for a page that has too few that may be read. */
const SCANNED = 500
/** How long what was read of the store is kept for others who ask, in milliseconds. */
const KEPT_MS = 5_000

/** What the store knows of runs. */
export interface PastRuns {
  /** Those of a principal behind a place of its list, the newest first, at most `most` of them. */
  list(principal: string, before: ListPosition | undefined, most: number): Promise<readonly StoredRunSummary[]>
  /** A run by its id. */
  summary(id: string): Promise<StoredRunSummary | undefined>
  /**
   * Present where other nodes have runs, too. Calls back when one of a principal may have changed: with its id, or without,
   * when it may be any. Gives what ends that.
   */
  readonly followList?: ((principal: string, heard: (id?: string) => void) => Promise<() => void>) | undefined
}

/** Which part of a list is asked for. */
export type PageRequest = {
  /** A run of the list: only runs that began before it. Default: from the newest. */
  readonly before?: string | undefined
  readonly most: number
  /** Whether the principal may read this run of its own. Others are not listed. */
  readonly mayRead: (run: ListableRun) => boolean
}

/** A part of a list, the newest run first. */
export type RunPage = { readonly runs: readonly ({ run: string } & ListedFacts)[]; readonly more: boolean }

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
  /** Runs that only the store has were put on it, and perhaps taken off again. */
  hasPast = false
  /** How many read it. */
  readers = 0
  /** Resolves once the runs that only the store has are on it. */
  past: Promise<void> | undefined
  /** While what was read of the store is kept for others. */
  kept: Timer | undefined
  /** Ends what is heard of the runs of other nodes. */
  unfollow: (() => void) | undefined
  /** Runs that may have changed in another node. They are read one after the other. */
  readonly heard = new Set<string>()
  /** Something may have begun of which nothing was heard. */
  missed = false
  isReading = false

  /** Whether the runs that only the store has are on it. */
  get isRead(): boolean {
    return this.readers > 0 || this.kept !== undefined
  }
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
   * @param runtime what is read of the store is kept for a while.
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
    if (list.isRead) return undefined
    list.past ??= this.#readPast(principal, list, pastRuns)
    return list.past
  }

  async #readPast(principal: Principal, list: RunList, pastRuns: PastRuns): Promise<void> {
    try {
      await this.#follow(principal, list, pastRuns)
      const past = await pastRuns.list(principal.id, undefined, MAX_LISTED)
      const known = [...list.runs.values()]
      const room = Math.max(0, MAX_LISTED - known.length)
      const others = past.filter((run) => !list.runs.has(run.id)).slice(0, room)
      const all = [...others.reverse().map((summary) => ListedRun.past(principal, summary)), ...known]
      all.sort((a, b) => a.startedAt - b.startedAt)
      list.runs.clear()
      list.last = 0
      list.hasPast ||= others.length > 0
      for (const listed of all) {
        listed.n = ++list.last
        list.runs.set(listed.id, listed)
      }
      this.#keep(principal, list)
    } finally {
      list.past = undefined
      this.#runtime.nextTurn(() => this.#tidy(principal, list))
    }
    this.#readHeard(principal, list, pastRuns)
  }

  /** Keeps what was read for others who ask soon: they would read as much again. */
  #keep(principal: Principal, list: RunList): void {
    list.kept?.clear()
    list.kept = this.#runtime.setTimer(KEPT_MS, () => {
      list.kept = undefined
      this.#tidy(principal, list)
    })
  }

  // --- runs of other nodes

  /** Hears of the runs of other nodes, before they are read: none is missed in between. */
  async #follow(principal: Principal, list: RunList, pastRuns: PastRuns): Promise<void> {
    if (list.unfollow || !pastRuns.followList) return
    list.unfollow = await pastRuns.followList(principal.id, (id) => {
      if (!list.unfollow) return
      if (id !== undefined) list.heard.add(id)
      else for (const { id, isPast, hasEnded } of list.runs.values()) if (isPast && !hasEnded) list.heard.add(id)
      if (!list.past) this.#readHeard(principal, list, pastRuns, id === undefined)
    })
  }

  /** Reads what was heard of. @param newest Whether those that began last are read, too: nothing may have been heard of them. */
  #readHeard(principal: Principal, list: RunList, pastRuns: PastRuns, newest = false): void {
    list.missed ||= newest
    if (list.isReading) return
    list.isReading = true
    void this.#readAll(principal, list, pastRuns).finally(() => (list.isReading = false))
  }

  async #readAll(principal: Principal, list: RunList, pastRuns: PastRuns): Promise<void> {
    // Who looks next, now and then, reads what fails here.
    while (list.unfollow && (list.heard.size > 0 || list.missed)) {
      const isMissed = list.missed
      list.missed = false
      const newest = isMissed ? await pastRuns.list(principal.id, undefined, SCANNED).catch(() => []) : []
      for (const summary of newest.toReversed()) this.#take(principal, list, summary.id, summary)
      const ids = [...list.heard].slice(0, SCANNED)
      for (const id of ids) list.heard.delete(id)
      // One that memory has changes here.
      const others = ids.filter((id) => list.runs.get(id)?.isPast !== false)
      const read = (id: string): Promise<void> =>
        pastRuns.summary(id).then(
          (summary) => this.#take(principal, list, id, summary),
          () => {},
        )
      await Promise.all(others.map(read))
    }
  }

  /** Takes what the store has of a run now. */
  #take(principal: Principal, list: RunList, id: string, summary: StoredRunSummary | undefined): void {
    const listed = list.runs.get(id)
    if (!list.unfollow || listed?.isPast === false) return
    if (!summary) {
      if (listed) this.#remove(principal, list, listed)
    } else if (listed) {
      if (listed.update(summary)) this.#report(list, listed)
    } else if (summary.principal === principal.id) {
      const added = ListedRun.past(principal, summary, ++list.last)
      list.runs.set(id, added)
      list.hasPast = true
      this.#report(list, added)
      if (list.runs.size > MAX_LISTED) this.#dropOldest(principal, list)
    }
  }

  /** Forgets what is kept for others. */
  close(): void {
    for (const list of this.#lists.values()) {
      list.kept?.clear()
      list.unfollow?.()
      list.unfollow = undefined
    }
  }

  // --- what is asked of a list

  /**
   * A part of the list of a principal: of its runs in memory and of those that only the store has. It costs what it has,
   * however long the list is.
   * @returns undefined when the list has no run of the id in `before`.
   * @throws MillraceError `store_unavailable`.
   */
  async page(principal: Principal, { before, most, mayRead }: PageRequest): Promise<RunPage | undefined> {
    const past = this.#pastRuns
    let behind = before === undefined ? undefined : await this.#listed(principal, before)
    if (before !== undefined && !(behind && mayRead(behind.run))) return undefined
    const runs: ({ run: string } & ListedFacts)[] = []
    let isLast = false
    for (let looked = 0; !isLast && runs.length <= most && looked < MAX_LISTED; ) {
      const asked = looked === 0 ? most + 1 : Math.min(SCANNED, MAX_LISTED - looked)
      const rows = past ? await past.list(principal.id, behind, asked) : []
      const stored = rows.map((summary) => ListedRun.past(principal, summary))
      looked += rows.length
      isLast = rows.length < asked
      const last = isLast ? undefined : stored.at(-1)
      for (const listed of this.#between(principal, behind, last, stored))
        if (mayRead(listed.run)) runs.push({ run: listed.id, ...listed.facts() })
      behind = last
    }
    return { runs: runs.slice(0, most), more: runs.length > most || (!isLast && runs.length > 0) }
  }

  /** A run of a principal: as it is in memory, or as only the store has it. */
  async #listed(principal: Principal, id: string): Promise<ListedRun | undefined> {
    const known = this.find(principal, id)
    if (known) return known
    const summary = await this.#pastRuns?.summary(id)
    return summary?.principal === principal.id ? ListedRun.past(principal, summary) : undefined
  }

  /**
   * The runs behind one place of a list, up to and with another.
   * @param stored all of them that the store has. Of a run that memory has too, that is newer.
   */
  #between(
    principal: Principal,
    behind: ListedRun | undefined,
    last: ListedRun | undefined,
    stored: readonly ListedRun[],
  ): ListedRun[] {
    const order = this.#pastRuns ? newestFirst : lastFirst
    const here = [...this.of(principal)].filter(({ isPast }) => !isPast)
    const known = new Set(here.map(({ id }) => id))
    return here
      .filter((listed) => !(behind && order(behind, listed) >= 0) && !(last && order(listed, last) > 0))
      .concat(stored.filter(({ id }) => !known.has(id)))
      .sort(order)
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

  /** Adds a run that begins. @param startedAt when it did, in epoch milliseconds; the same as in the store. */
  add(run: ListableRun, startedAt: number): void {
    const list = this.#listOf(run.principal)
    const listed = new ListedRun(++list.last, run, startedAt, false)
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
    if (isStored && list.isRead) {
      listed.forget()
      list.hasPast = true
    } else this.#remove(principal, list, listed)
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
    // A watcher that reads slowly still has to be told of it, and must not keep the run.
    listed.letGo()
    this.#tidy(principal, list)
  }

  /** Forgets what nobody needs of a list. */
  #tidy({ id }: Principal, list: RunList): void {
    if (list.isRead || list.past) return
    list.unfollow?.()
    list.unfollow = undefined
    list.heard.clear()
    if (list.hasPast) for (const { id, isPast } of [...list.runs.values()]) if (isPast) list.runs.delete(id)
    list.hasPast = false
    if (list.runs.size === 0 && list.watchers.size === 0) this.#lists.delete(id)
  }
}

/** The order of a list that memory has as a whole. */
function lastFirst(a: ListedRun, b: ListedRun): number {
  return b.n - a.n
}

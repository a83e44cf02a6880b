import type { Outcome, Policy, RunState } from './frames.ts'

/** The facts of a reader of a run, which rarely change. */
export type ReaderFacts = {
  /** How it reads. */
  readonly policy: Policy
  /** Whether the reader belongs to the run's principal. A run with such a reader is not detached. */
  readonly own: boolean
  /** Items per second that the reader asked for; 0 is a pause. Absent: no limit. */
  readonly perSec?: number
}

/** The facts of a run, which rarely change. */
export type RunFacts = {
  /** The id of the run. */
  readonly id: string
  /** The name of its actor. */
  readonly actor: string
  /** The id of its principal, for people. Very long ids and secrets of client instances are cut. */
  readonly principal: string
  /**
   * The name of the server that has it, where that is another one than the inspector's; empty: none has it now. Absent: that
   * of the inspector. Of a run elsewhere, its sessions, its readers and its bytes per second are not known.
   */
  readonly node?: string
  /** The sessions of its principal that opened it and are not forgotten, at most 16. */
  readonly sessions: readonly string[]
  /** The run that started it as a child, if one did. */
  readonly parent?: string
  /** An `ended` run is listed only while something of it goes on, because it ignores its abort signal. */
  readonly state: RunState
  /** How it ended. Absent before the end, and when the server no longer knows. */
  readonly outcome?: Exclude<Outcome, 'unsubscribed'>
  /** Whether its actor waits for its readers. */
  readonly gated: boolean
  /** Whether no reader of its principal is attached. Never true of a child run: see its root run. */
  readonly detached: boolean
  /** When it began, in epoch milliseconds of the server's clock. */
  readonly startedAt: number
  /** Set for a run that is an inspector itself, such as the one that sends this. */
  readonly inspector?: true
  /** The number of its readers. */
  readonly readerCount: number
  /** At most 16 readers: first those that the actor waits for, then the others in the order in which they joined. */
  readonly readers: readonly ReaderFacts[]
}

/**
 * The figures of a run, which change all the time: its id, items logged, items per second, bytes per second. Then
 * follow two numbers for each of the `readers` of its facts, in the same order. The first is the credit left; at 0 or
 * less, nothing may be sent. The second is the lag: the logged items not yet sent. Rates cover about the last second,
 * or the time since the previous sample.
 */
export type RunFigures = readonly [
  run: string,
  items: number,
  itemsPerSec: number,
  bytesPerSec: number,
  ...creditAndLag: number[],
]

/** The server's session of one client instance. */
export type InspectedSession = {
  /** The id of the session. */
  readonly id: string
  /** As in `RunFacts`. */
  readonly principal: string
  /** Whether it has a connection now. */
  readonly connected: boolean
  /** The number of runs that it opened and that have not ended. */
  readonly runs: number
}

/**
 * One value of an inspector's `data` events: everything that was added, changed or removed since the previous one. If
 * something changed several times, only its latest state is included. `InspectorState` assembles the whole list.
 */
export type InspectorUpdate = {
  /** The time of this state, in epoch milliseconds of the server's clock. */
  readonly at: number
  /** Set in the first update, which replaces earlier ones. `own`: only the reader's own runs and sessions are in it. */
  readonly scope?: 'all' | 'own'
  /** Runs that are new, or whose facts changed. Their figures are in the same update. */
  readonly runs?: readonly RunFacts[]
  /** The figures that changed. */
  readonly figures?: readonly RunFigures[]
  /** Sessions that are new or changed. */
  readonly sessions?: readonly InspectedSession[]
  /** Ids of runs that have ended and settled. Their last facts come in this update or an earlier one. */
  readonly goneRuns?: readonly string[]
  /** Ids of sessions that are forgotten. */
  readonly goneSessions?: readonly string[]
  /** The next update continues this one, because a single message would be too large. */
  readonly more?: true
}

/** A reader of a run, with its figures. */
export type InspectedReader = ReaderFacts & {
  /** The credit left. At 0 or less, nothing may be sent. */
  readonly credit: number
  /** The number of logged items that were not yet sent to the reader. */
  readonly lag: number
}

/** A run, with its figures. */
export type InspectedRun = Omit<RunFacts, 'readers'> & {
  /** The number of items logged. */
  readonly items: number
  /** Averaged over about the last second, as `bytesPerSec` is. */
  readonly itemsPerSec: number
  /** Logged bytes per second. */
  readonly bytesPerSec: number
  /** Its readers, at most 16. */
  readonly readers: readonly InspectedReader[]
}

/** The runs and sessions that one update changed, in their new or last state. */
export type InspectorChanges = {
  /** Runs that are new or changed. */
  readonly runs: readonly InspectedRun[]
  /** Sessions that are new or changed. */
  readonly sessions: readonly InspectedSession[]
  /** Runs that have ended and settled. */
  readonly goneRuns: readonly InspectedRun[]
  /** Sessions that are forgotten. */
  readonly goneSessions: readonly InspectedSession[]
}

/** The list of a server's runs and sessions, assembled from an inspector's updates. */
export class InspectorState {
  /** The runs by id. */
  readonly runs: Map<string, InspectedRun> = new Map()
  /** The sessions by id. */
  readonly sessions: Map<string, InspectedSession> = new Map()
  /** Which runs and sessions are listed: all, or the reader's own. Undefined before the first update. */
  scope: 'all' | 'own' | undefined
  /** The time of the latest update, in epoch milliseconds of the server's clock. */
  at = 0
  /** Whether the list is incomplete until the next update. True before the first update. */
  isPartial = true
  readonly #facts = new Map<string, RunFacts>()

  /** Applies the value of the next `data` event of an inspector. Returns the changes. */
  take(update: InspectorUpdate): InspectorChanges {
    if (update.scope !== undefined) this.#begin(update.scope)
    this.at = update.at
    this.isPartial = update.more ?? false
    for (const facts of update.runs ?? []) this.#facts.set(facts.id, facts)
    const sessions = update.sessions ?? []
    for (const session of sessions) this.sessions.set(session.id, session)
    return {
      runs: (update.figures ?? []).flatMap((figures) => this.#counted(figures)),
      sessions,
      goneRuns: (update.goneRuns ?? []).flatMap((id) => {
        this.#facts.delete(id)
        return taken(this.runs, id)
      }),
      goneSessions: (update.goneSessions ?? []).flatMap((id) => taken(this.sessions, id)),
    }
  }

  #begin(scope: 'all' | 'own'): void {
    this.scope = scope
    this.runs.clear()
    this.sessions.clear()
    this.#facts.clear()
  }

  #counted([id, items, itemsPerSec, bytesPerSec, ...creditAndLag]: RunFigures): InspectedRun[] {
    const facts = this.#facts.get(id)
    if (!facts) return []
    const readers = facts.readers.map(
      (reader, i): InspectedReader => ({
        ...reader,
        credit: creditAndLag[2 * i] ?? 0,
        lag: creditAndLag[2 * i + 1] ?? 0,
      }),
    )
    const run: InspectedRun = { ...facts, items, itemsPerSec, bytesPerSec, readers }
    this.runs.set(id, run)
    return [run]
  }
}

/** Removes an entry from a map. Returns it in an array, which is empty if there was none. */
function taken<Value>(map: Map<string, Value>, key: string): Value[] {
  const value = map.get(key)
  return map.delete(key) && value !== undefined ? [value] : []
}

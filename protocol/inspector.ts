import type { Outcome, Policy } from './frames.ts'

/** What of one who follows a run rarely changes. */
export type ReaderFacts = {
  readonly policy: Policy
  /** It belongs to the principal of the run: the run is not detached. */
  readonly own: boolean
  /** Items a second that it asked for; 0 is a pause. Absent: no limit. */
  readonly perSec?: number
}

/** What of a run rarely changes. */
export type RunFacts = {
  readonly id: string
  readonly actor: string
  /** Whose it is, for people: a very long id is cut, and what looks like the secret of a client instance is. */
  readonly principal: string
  /** The sessions of its principal that opened it and are not forgotten; at most 16 of them. */
  readonly sessions: readonly string[]
  /** The run that it is a part of, if it is one. */
  readonly parent?: string
  /** `ended` is on the list only while something of it goes on that does not heed its stop. */
  readonly state: 'opening' | 'running' | 'waiting_input' | 'settling' | 'ended'
  /** How it ended. Absent until then, and when the server no longer knows. */
  readonly outcome?: Exclude<Outcome, 'unsubscribed'>
  /** Its actor waits for its readers. */
  readonly gated: boolean
  /** Nobody of its principal follows it; of a part, that is told of the whole. */
  readonly detached: boolean
  /** When it began, in epoch milliseconds of the server's clock. */
  readonly startedAt: number
  /** It watches this list, as the run does that told of it. */
  readonly inspector?: true
  /** How many follow it. */
  readonly readerCount: number
  /** Sixteen of them at most: first those for whom the actor waits, then in the order in which they came. */
  readonly readers: readonly ReaderFacts[]
}

/**
 * What of a run changes all the time: its id, items logged, items and bytes a second, and of each of the `readers` of its
 * facts, in the same order, what is left of its credit (0 or less: it may be sent nothing) and how many items of the log
 * it was not sent. Rates are those of about the last second, or of the time since the look before.
 */
export type RunFigures = readonly [
  run: string,
  items: number,
  itemsPerSec: number,
  bytesPerSec: number,
  ...creditAndLag: number[],
]

/** One client instance, as the server knows it. */
export type InspectedSession = {
  readonly id: string
  /** As of a run. */
  readonly principal: string
  readonly connected: boolean
  /** Runs that it opened and that have not ended. */
  readonly runs: number
}

/**
 * What an inspector says: what came, changed or went since it said something last. Of what changed several times in
 * between only the last is told. `InspectorState` makes the whole list of it.
 */
export type InspectorUpdate = {
  /** When it was so, in epoch milliseconds of the server's clock. */
  readonly at: number
  /** The first update: what was known before no longer counts. `own`: only what is the reader's own is on this list. */
  readonly scope?: 'all' | 'own'
  /** Runs that came, or of which more has changed than figures. Their figures are in the same update. */
  readonly runs?: readonly RunFacts[]
  /** The figures that changed. */
  readonly figures?: readonly RunFigures[]
  readonly sessions?: readonly InspectedSession[]
  /** Ids of runs that have ended, and of which nothing goes on. The last of their facts come before or with this. */
  readonly goneRuns?: readonly string[]
  readonly goneSessions?: readonly string[]
  /** The next update belongs to this one: one message would be too large. */
  readonly more?: true
}

/** One who follows a run. */
export type InspectedReader = ReaderFacts & {
  /** How much more it may be sent; 0 or less: nothing. */
  readonly credit: number
  /** How many items of the log it was not sent. */
  readonly lag: number
}

/** A run, with its figures. */
export type InspectedRun = Omit<RunFacts, 'readers'> & {
  /** Items logged. */
  readonly items: number
  /** Over about the last second. */
  readonly itemsPerSec: number
  readonly bytesPerSec: number
  readonly readers: readonly InspectedReader[]
}

/** What one update changed, each as it is now, or was last. */
export type InspectorChanges = {
  readonly runs: readonly InspectedRun[]
  readonly sessions: readonly InspectedSession[]
  readonly goneRuns: readonly InspectedRun[]
  readonly goneSessions: readonly InspectedSession[]
}

/** The list of a server's runs and sessions, as its inspector tells it. */
export class InspectorState {
  readonly runs: Map<string, InspectedRun> = new Map()
  readonly sessions: Map<string, InspectedSession> = new Map()
  /** Whose runs and sessions these are. Undefined until something was told. */
  scope: 'all' | 'own' | undefined
  /** When it was so, in epoch milliseconds of the server's clock. */
  at = 0
  /** More of the same moment is to come. */
  isPartial = true
  readonly #facts = new Map<string, RunFacts>()

  /** Takes the value of the next `data` event of an inspector. Returns what it changed. */
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

/** Takes an entry out of a map: none, or the one. */
function taken<Value>(map: Map<string, Value>, key: string): Value[] {
  const value = map.get(key)
  return map.delete(key) && value !== undefined ? [value] : []
}

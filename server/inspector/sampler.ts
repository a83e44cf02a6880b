import type { InspectedSession, ReaderFacts, RunFacts, RunFigures } from '../../protocol/inspector.ts'
import type { ReaderView, RunView, ServerView, SessionView } from '../actors/server-view.ts'
import { wellFormed } from '../text.ts'

/** Readers and sessions of one run that are shown. */
const MAX_SHOWN = 16
/** The longest part of a name that is shown, in UTF-16 units. */
const MAX_NAME = 256
/** A rate is that of at least so long a time, where it is looked at more often. */
const RATE_MS = 500
/** What was seen so long ago still counts as now: all who look at the same time share one look. */
const SHARED_MS = 50

/** A moment of a run, for its rates. */
type Mark = { readonly at: number; readonly items: number; readonly bytes: number }

/**
 * One run, as it was seen last. A value that a watcher was told and that is still the same object has not changed since.
 */
export type SeenRun = {
  /** The whole id of its principal. */
  readonly owner: string
  facts: RunFacts
  figures: RunFigures
  /** It has settled, and is no longer on the list. */
  gone: boolean
  seenIn: number
  older: Mark
  newer: Mark
}

/** One session, as it was seen last. */
export type SeenSession = { readonly owner: string; facts: InspectedSession; gone: boolean; seenIn: number }

/**
 * Looks at a server for all who watch it: however many they are, what there is to see is compared with what was there
 * before only once. While nobody watches it knows nothing.
 */
export class Sampler {
  readonly view: ServerView
  readonly #runs = new Map<string, SeenRun>()
  readonly #sessions = new Map<string, SeenSession>()
  /** The runs of those who watch. */
  readonly #watching = new Set<string>()
  #looks = 0
  /** Undefined while what was seen before is forgotten. */
  #lookedAt: number | undefined

  constructor(view: ServerView) {
    this.view = view
  }

  get runs(): Iterable<SeenRun> {
    return this.#runs.values()
  }

  /** There are no runs but those of who watches. */
  get isAlone(): boolean {
    for (const { facts } of this.#runs.values()) if (!facts.inspector) return false
    return true
  }

  get sessions(): Iterable<SeenSession> {
    return this.#sessions.values()
  }

  /** A run begins to watch. It must `leave`. */
  enter(run: string): void {
    this.#watching.add(run)
    this.look()
  }

  leave(run: string): void {
    this.#watching.delete(run)
    if (this.#watching.size > 0) return
    this.#runs.clear()
    this.#sessions.clear()
    this.#lookedAt = undefined
  }

  /** Looks, unless somebody has just now. */
  lookAgain(): void {
    if (this.view.runtime.now() - (this.#lookedAt ?? Number.NEGATIVE_INFINITY) >= SHARED_MS) this.look()
  }

  look(): void {
    const now = this.view.runtime.now()
    const since = this.#lookedAt ?? now
    this.#lookedAt = now
    this.#looks++
    const sessionsOf = this.#lookAtSessions()
    for (const run of this.view.runs()) this.#lookAtRun(run, sessionsOf.get(run.id) ?? [], now, since)
    for (const [id, seen] of this.#runs) {
      if (seen.seenIn === this.#looks) continue
      this.#runs.delete(id)
      this.#settled(seen, now)
    }
  }

  #lookAtRun(run: RunView, sessions: readonly string[], now: number, since: number): void {
    const shown = shownReaders(run)
    const known = this.#runs.get(run.id)
    if (known) {
      known.seenIn = this.#looks
      advance(known, run, now)
      const marked = known.facts.inspector === true || !this.#watching.has(run.id)
      if (!marked || !isTrue(known.facts, run, sessions, shown))
        known.facts = this.#factsOf(run, sessions, shown, known.facts)
      known.figures = figuresOf(known, run, shown, now)
      return
    }
    // What a new run has said was said since it began; of what was there already the rate is not known yet.
    const isNew = run.startedAt >= since
    const mark = isNew ? { at: run.startedAt, items: 0, bytes: 0 } : markOf(run, now)
    const seen: SeenRun = {
      owner: run.principal.id,
      facts: this.#factsOf(run, sessions, shown, undefined),
      figures: [run.id, 0, 0, 0],
      gone: false,
      seenIn: this.#looks,
      older: mark,
      newer: mark,
    }
    seen.figures = figuresOf(seen, run, shown, now)
    this.#runs.set(run.id, seen)
  }

  #factsOf(
    run: RunView,
    sessions: readonly string[],
    shown: readonly ReaderView[],
    before: RunFacts | undefined,
  ): RunFacts {
    const { runtime } = this.view
    return {
      id: run.id,
      actor: before?.actor ?? name(run.actorName),
      principal: before?.principal ?? principalName(run.principal.id),
      sessions,
      ...(run.parent && { parent: run.parent.id }),
      state: run.state,
      ...(run.end && { outcome: run.end.outcome }),
      gated: run.gated,
      detached: isDetached(run),
      startedAt: before?.startedAt ?? Math.round(runtime.wallClock() - (runtime.now() - run.startedAt)),
      ...((before?.inspector || this.#watching.has(run.id)) && { inspector: true }),
      readerCount: run.readers,
      readers: shown.map(
        ({ policy, own, perSec }): ReaderFacts => ({ policy, own, ...(perSec !== undefined && { perSec }) }),
      ),
    }
  }

  /** A run is no longer among those that have not settled: this is the last of it. */
  #settled(seen: SeenRun, now: number): void {
    seen.gone = true
    const run = this.view.run(seen.facts.id)
    if (run) {
      advance(seen, run, now)
      seen.facts = this.#factsOf(run, [], [], seen.facts)
      seen.figures = figuresOf(seen, run, [], now)
    } else {
      seen.facts = { ...seen.facts, state: 'ended', gated: false, detached: false, sessions: [], readers: [] }
      seen.figures = [seen.facts.id, seen.figures[1], 0, 0]
    }
  }

  /** The sessions of each run, those of its own principal. */
  #lookAtSessions(): Map<string, string[]> {
    const sessionsOf = new Map<string, string[]>()
    for (const session of this.view.sessions()) {
      this.#lookAtSession(session)
      for (const run of session.runs) {
        if (run.principal.id !== session.principal.id) continue
        const sessions = sessionsOf.get(run.id)
        if (!sessions) sessionsOf.set(run.id, [session.id])
        else if (sessions.length < MAX_SHOWN) sessions.push(session.id)
      }
    }
    for (const [id, seen] of this.#sessions) {
      if (seen.seenIn === this.#looks) continue
      this.#sessions.delete(id)
      seen.gone = true
    }
    return sessionsOf
  }

  #lookAtSession({ id, principal, socket, runs: { size: runs } }: SessionView): void {
    const connected = socket !== undefined
    const known = this.#sessions.get(id)
    if (!known) {
      const facts = { id, principal: principalName(principal.id), connected, runs }
      this.#sessions.set(id, { owner: principal.id, facts, gone: false, seenIn: this.#looks })
      return
    }
    known.seenIn = this.#looks
    if (known.facts.connected !== connected || known.facts.runs !== runs)
      known.facts = { ...known.facts, connected, runs }
  }
}

/** The readers that are shown: those who hold the actor back are not among the rest. */
function shownReaders(run: RunView): ReaderView[] {
  const readers = [...run.followers]
  if (readers.length <= MAX_SHOWN) return readers
  const pacing = readers.filter(({ policy }) => policy === 'pace')
  const others = readers.filter(({ policy }) => policy !== 'pace')
  return [...pacing, ...others].slice(0, MAX_SHOWN)
}

/** Whether the facts that were seen before are still the facts. */
function isTrue(facts: RunFacts, run: RunView, sessions: readonly string[], shown: readonly ReaderView[]): boolean {
  return (
    facts.state === run.state &&
    facts.outcome === run.end?.outcome &&
    facts.gated === run.gated &&
    facts.detached === isDetached(run) &&
    facts.readerCount === run.readers &&
    facts.sessions.length === sessions.length &&
    facts.readers.length === shown.length &&
    facts.sessions.every((id, i) => id === sessions[i]) &&
    facts.readers.every((reader, i) => {
      const { policy, own, perSec } = shown[i] as ReaderView
      return reader.policy === policy && reader.own === own && reader.perSec === perSec
    })
  )
}

/** What has ended is nobody's any more, and a part is followed by who follows the whole. */
function isDetached(run: RunView): boolean {
  return run.detached && !run.end && !run.parent
}

function markOf({ log }: RunView, at: number): Mark {
  return { at, items: log.last, bytes: log.bytesThrough(log.last) }
}

/** Moves the time that the rates are of. */
function advance(seen: SeenRun, run: RunView, now: number): void {
  if (now - seen.newer.at < RATE_MS) return
  seen.older = seen.newer
  seen.newer = markOf(run, now)
}

/** The figures of a run; the same ones where nothing has changed. */
function figuresOf(seen: SeenRun, run: RunView, shown: readonly ReaderView[], now: number): RunFigures {
  const { log } = run
  const { at, items, bytes } = seen.older
  const perMs = now > at ? 1_000 / (now - at) : 0
  // A log that began a new life has fewer items than before.
  const itemsPerSec = rounded(Math.max(0, log.last - items) * perMs)
  const bytesPerSec = rounded(Math.max(0, log.bytesThrough(log.last) - bytes) * perMs)
  const creditAndLag: number[] = []
  for (const { cursor } of shown) creditAndLag.push(cursor.balance, Math.max(0, log.last - cursor.last))
  const figures: RunFigures = [run.id, log.last, itemsPerSec, bytesPerSec, ...creditAndLag]
  const { figures: before } = seen
  return figures.length === before.length && figures.every((figure, i) => figure === before[i]) ? before : figures
}

/** Whole, unless it is small. */
function rounded(rate: number): number {
  return rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate)
}

/** A principal as it is shown. The id of an anonymous one is made of the secret of its client instance. */
function principalName(id: string): string {
  return name(id.replaceAll(/(?<![0-9a-z])([0-9a-f]{8})[0-9a-f]{24}(?![0-9a-z])/gi, '$1…'))
}

/** A name that can travel. */
function name(text: string): string {
  const whole = text.length <= MAX_NAME ? text : `${text.slice(0, MAX_NAME)}…`
  return wellFormed(whole)
}

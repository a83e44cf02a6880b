import type { InspectedSession, ReaderFacts, RunFacts, RunFigures } from '../../protocol/inspector.ts'
import type { SessionTarget } from '../actors/authorize.ts'
import type { ReaderView, RunView, ServerView, SessionView } from '../actors/server-view.ts'
import { wallClockAt } from '../runtime.ts'
import { type Mark, principalName, rounded, type SeenRun, shownName } from './seen-run.ts'

/** Maximum number of readers, and of sessions, that are shown of one run. */
const MAX_SHOWN = 16
/** Minimum time over which a rate is measured, in milliseconds. */
const RATE_MS = 500
/** A sample is fresh for this many milliseconds: watchers that ask at the same time share one sample. */
const SHARED_MS = 50

/** A session in the latest sample. `facts` is replaced only when it changes. */
export type SeenSession = { readonly target: SessionTarget; facts: InspectedSession; gone: boolean; seenIn: number }

/**
 * Samples the state of one server for all its watchers. It compares each sample with the previous one once, for any
 * number of watchers. While there is no watcher it keeps nothing.
 */
export class Sampler {
  readonly view: ServerView
  readonly #runs = new Map<string, SeenRun>()
  readonly #sessions = new Map<string, SeenSession>()
  /** The ids of the runs that watch: those of inspectors. */
  readonly #watching = new Set<string>()
  /** The number of samples taken. */
  #looks = 0
  /** The time of the latest sample, in milliseconds. Undefined while no sample is kept. */
  #lookedAt: number | undefined

  constructor(view: ServerView) {
    this.view = view
  }

  get runs(): Iterable<SeenRun> {
    return this.#runs.values()
  }

  /** Whether a run is in the latest sample. */
  has(id: string): boolean {
    return this.#runs.has(id)
  }

  /** Whether the runs of inspectors are the only runs. */
  get isAlone(): boolean {
    for (const { facts } of this.#runs.values()) if (!facts.inspector) return false
    return true
  }

  get sessions(): Iterable<SeenSession> {
    return this.#sessions.values()
  }

  /** Adds a watching run and takes a sample. The run must call `leave`. */
  enter(run: string): void {
    this.#watching.add(run)
    this.look()
  }

  /** Removes a watching run. The last one drops all samples. */
  leave(run: string): void {
    this.#watching.delete(run)
    if (this.#watching.size > 0) return
    this.#runs.clear()
    this.#sessions.clear()
    this.#lookedAt = undefined
  }

  /** Takes a sample, unless the latest is younger than 50 ms. */
  lookAgain(): void {
    if (this.view.runtime.now() - (this.#lookedAt ?? Number.NEGATIVE_INFINITY) >= SHARED_MS) this.look()
  }

  /** Takes a sample. */
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
    // The items of a new run were logged since its start. For a run that existed before, no rate is known yet.
    const isNew = run.startedAt >= since
    const mark = isNew ? { at: run.startedAt, items: 0, bytes: 0 } : markOf(run, now)
    const seen: SeenRun = {
      target: { type: 'run', run: run.id, actor: run.actorName, owner: run.principal },
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
      actor: before?.actor ?? shownName(run.actorName),
      principal: before?.principal ?? principalName(run.principal.id),
      sessions,
      ...(run.parent && { parent: run.parent.id }),
      state: run.state,
      ...(run.end && { outcome: run.end.outcome }),
      gated: run.gated,
      detached: isDetached(run),
      startedAt: before?.startedAt ?? wallClockAt(runtime, run.startedAt),
      ...((before?.inspector || this.#watching.has(run.id)) && { inspector: true }),
      readerCount: run.readers,
      readers: shown.map(
        ({ policy, own, perSec }): ReaderFacts => ({ policy, own, ...(perSec !== undefined && { perSec }) }),
      ),
    }
  }

  /** Takes the last facts and figures of a run that has settled. */
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

  /** Samples the sessions. Returns the session ids of each run; only sessions of the run's own principal count. */
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
      this.#sessions.set(id, {
        target: { type: 'session', session: id, owner: principal },
        facts,
        gone: false,
        seenIn: this.#looks,
      })
      return
    }
    known.seenIn = this.#looks
    if (known.facts.connected !== connected || known.facts.runs !== runs)
      known.facts = { ...known.facts, connected, runs }
  }
}

/** The readers that are shown. Readers that can hold the actor back come first. */
function shownReaders(run: RunView): ReaderView[] {
  const readers = [...run.followers]
  if (readers.length <= MAX_SHOWN) return readers
  const pacing = readers.filter(({ policy }) => policy === 'pace')
  const others = readers.filter(({ policy }) => policy !== 'pace')
  return [...pacing, ...others].slice(0, MAX_SHOWN)
}

/** Whether the facts of the previous sample still hold. */
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

/** An ended run is never detached, nor is a child: the readers of its parent read it. */
function isDetached(run: RunView): boolean {
  return run.detached && !run.end && !run.parent
}

function markOf({ log }: RunView, at: number): Mark {
  return { at, items: log.last, bytes: log.bytesThrough(log.last) }
}

/** Moves the time over which the rates of a run are measured. */
function advance(seen: SeenRun, run: RunView, now: number): void {
  if (now - seen.newer.at < RATE_MS) return
  seen.older = seen.newer
  seen.newer = markOf(run, now)
}

/** The figures of a run; the previous object if nothing has changed. */
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

import type { RunFacts, RunFigures } from '../../protocol/inspector.ts'
import type { LiveRunView, ServerView } from '../actors/server-view.ts'
import type { Sampler } from './sampler.ts'
import { principalName, rounded, type SeenRun, shownName } from './seen-run.ts'

/** The most runs of other servers that are shown, and the most that no server has: nobody else shows those. */
const MOST = 1_000
/** The least time between two looks at the store, in milliseconds. All watchers share one. */
const EVERY_MS = 1_000

/**
 * Samples the live runs of the other servers that share a store, as far as the store knows them: where they stand, and
 * not who reads them. All watchers of one server share a look, which costs no more with a store of a million runs.
 */
export class Elsewhere {
  readonly #view: ServerView
  readonly #here: Sampler
  readonly #runs = new Map<string, SeenRun>()
  #watchers = 0
  #lookedAt = Number.NEGATIVE_INFINITY
  #looking: Promise<void> | undefined
  /** The look for which the runs of this server were last sampled. */
  #sampledAt: number | undefined

  /** @param here samples the runs of this server. */
  constructor(here: Sampler) {
    this.#view = here.view
    this.#here = here
  }

  /** The runs of the last look. */
  get runs(): Iterable<SeenRun> {
    return this.#runs.values()
  }

  /** Whether a run is among them. */
  has(id: string): boolean {
    return this.#runs.has(id)
  }

  /** Somebody watches, who must call `leave`. */
  enter(): void {
    this.#watchers++
  }

  /** The last watcher who leaves drops what was seen. */
  leave(): void {
    if (--this.#watchers > 0) return
    this.#runs.clear()
    this.#lookedAt = Number.NEGATIVE_INFINITY
  }

  /** Looks at the store, unless that was done within the last second. Never rejects: what was seen stays. */
  async look(): Promise<void> {
    const now = this.#view.runtime.now()
    if (!this.#looking && now - this.#lookedAt < EVERY_MS) return
    this.#lookedAt = this.#looking ? this.#lookedAt : now
    this.#looking ??= this.#look(now)
      // The log says that the store fails, and the next look tries again.
      .catch(() => {})
      .finally(() => (this.#looking = undefined))
    await this.#looking
  }

  async #look(now: number): Promise<void> {
    const { shared } = this.#view
    if (!shared) return
    const seen = new Set<string>()
    for (const run of await shared.live(MOST)) {
      seen.add(run.id)
      this.#take(run, now)
    }
    // Of more runs than are shown, it is chance which ones a look gives. Those that are shown stay until they end.
    const others = [...this.#runs.keys()].filter((id) => !seen.has(id))
    const read = async (id: string): Promise<void> => this.#takeLast(id, await shared.summary(id), now)
    await Promise.all(others.map(read))
  }

  #take(run: LiveRunView, now: number): void {
    const known = this.#runs.get(run.id)
    // One that this server has is shown as it is here. Until it is, a run that came here is shown as it was.
    if (run.isHere || this.#view.run(run.id)) {
      if (!known) return
      if (!this.#here.has(run.id) && this.#sampledAt !== now) {
        this.#sampledAt = now
        this.#here.look()
      }
      if (this.#here.has(run.id)) this.#drop(known)
      return
    }
    if (known) return advance(known, run, now)
    const room = run.holder === undefined ? 2 * MOST : MOST
    if (this.#runs.size < room) this.#runs.set(run.id, begin(run, now))
  }

  /** @param run Undefined: the store has it no more. */
  #takeLast(id: string, run: LiveRunView | undefined, now: number): void {
    const known = this.#runs.get(id)
    if (!known) return
    if (run && !run.outcome) return this.#take({ ...run, holder: known.facts.node }, now)
    if (run) advance(known, run, now)
    else known.facts = { ...known.facts, state: 'ended' }
    this.#drop(known)
  }

  #drop(known: SeenRun): void {
    known.gone = true
    this.#runs.delete(known.facts.id)
  }
}

function begin(run: LiveRunView, now: number): SeenRun {
  const mark = { at: now, items: run.last, bytes: 0 }
  return {
    target: { type: 'run', run: run.id, actor: run.actorName, owner: { id: run.principal } },
    facts: factsOf(run),
    figures: [run.id, run.last, 0, 0],
    gone: false,
    seenIn: 0,
    older: mark,
    newer: mark,
  }
}

/** Takes what the store has of a run now. What is the same stays the same object. */
function advance(seen: SeenRun, run: LiveRunView, now: number): void {
  const { state, node, outcome } = factsOf(run)
  const { facts } = seen
  if (state !== facts.state || node !== facts.node || outcome !== facts.outcome) seen.facts = factsOf(run)
  const { at, items } = seen.newer
  const rate = now > at && !run.outcome ? rounded((Math.max(0, run.last - items) * 1_000) / (now - at)) : 0
  seen.older = seen.newer
  seen.newer = { at: now, items: run.last, bytes: 0 }
  const figures: RunFigures = [run.id, run.last, rate, 0]
  if (figures.some((figure, i) => figure !== seen.figures[i])) seen.figures = figures
}

/** Who reads it is known to its own server only. */
function factsOf(run: LiveRunView): RunFacts {
  return {
    id: run.id,
    actor: shownName(run.actorName),
    principal: principalName(run.principal),
    node: run.holder ?? '',
    sessions: [],
    state: run.state,
    ...(run.outcome && { outcome: run.outcome }),
    gated: false,
    detached: false,
    startedAt: run.startedAt,
    readerCount: 0,
    readers: [],
  }
}

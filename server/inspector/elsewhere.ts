import type { RunFacts, RunFigures } from '../../protocol/inspector.ts'
import type { ChildView, LiveRunView, ServerView, SharedRunsView } from '../actors/server-view.ts'
import { AskedServers } from './asked-servers.ts'
import type { Sampler } from './sampler.ts'
import { principalName, rounded, type SeenRun, shownName } from './seen-run.ts'

/** The most runs of other servers that are shown, of children of them, and of runs that no server has: nobody else shows those. */
const MOST = 1_000
/** The least time between two looks at the store, in milliseconds. All watchers share one. */
const EVERY_MS = 1_000

/** A run of another server, or a child of one. */
type RunElsewhere = LiveRunView & Partial<Pick<ChildView, 'parent'>>

/**
 * Samples the live runs of the other servers that share a store: where they stand, and not who reads them. It has the runs
 * from the store, and their children from the servers, because the store has none. All watchers of one server share a look,
 * which costs no more with a store of a million runs.
 */
export class Elsewhere {
  readonly #view: ServerView
  readonly #here: Sampler
  readonly #servers: AskedServers
  readonly #runs = new Map<string, SeenRun>()
  readonly #children = new Map<string, SeenRun>()
  #watchers = 0
  #lookedAt = Number.NEGATIVE_INFINITY
  #looking: Promise<void> | undefined
  /** The look for which the runs of this server were last sampled. */
  #sampledAt: number | undefined

  /** @param here samples the runs of this server. */
  constructor(here: Sampler) {
    this.#view = here.view
    this.#here = here
    this.#servers = new AskedServers(here.view)
  }

  /** The runs of the last look. */
  get runs(): Iterable<SeenRun> {
    return this.#all()
  }

  *#all(): Generator<SeenRun, void> {
    yield* this.#runs.values()
    yield* this.#children.values()
  }

  /** Whether a run is among them. */
  has(id: string): boolean {
    return this.#runs.has(id) || this.#children.has(id)
  }

  /** Somebody watches, who must call `leave`. */
  enter(): void {
    this.#watchers++
  }

  /** The last watcher who leaves drops what was seen. */
  leave(): void {
    if (--this.#watchers > 0) return
    this.#runs.clear()
    this.#children.clear()
    this.#servers.close()
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
      this.#take(this.#runs, run, now)
    }
    // Of more runs than are shown, it is chance which ones a look gives. Those that are shown stay until they end.
    const others = [...this.#runs.keys()].filter((id) => !seen.has(id))
    const read = async (id: string): Promise<void> => this.#takeLast(id, await shared.summary(id), now)
    await Promise.all(others.map(read))
    await this.#lookAtChildren(shared, now)
  }

  async #lookAtChildren(shared: SharedRunsView, now: number): Promise<void> {
    const holders = serversOf(this.#runs)
    const childrenOf = (server: string): string[] =>
      [...this.#children.values()].flatMap(({ facts: { id, node } }) => (node === server ? [id] : []))
    const said = await this.#servers.ask(new Set([...holders, ...serversOf(this.#children)]), (server, signal) =>
      shared.children(server, childrenOf(server), signal),
    )
    const seen = new Set<string>()
    for (const [holder, { live }] of said) {
      for (const child of live) {
        seen.add(child.id)
        this.#take(this.#children, { ...child, holder, isHere: false }, now)
      }
    }
    const gone = new Map([...said.values()].flatMap((each) => each.gone.map((child) => [child.id, child] as const)))
    for (const [id, known] of [...this.#children]) {
      const node = known.facts.node ?? ''
      // A server that is only late has its children still, for as long as it has runs.
      if (seen.has(id) || (!said.has(node) && holders.has(node))) continue
      const here = this.#view.run(id)
      const last = gone.get(id)
      if (here && !here.end) this.#cameHere(known, now)
      else this.#end(known, last && { ...last, holder: node, isHere: false }, now)
    }
  }

  #take(into: Map<string, SeenRun>, run: RunElsewhere, now: number): void {
    const known = into.get(run.id)
    if (run.isHere || this.#view.run(run.id)) {
      if (known) this.#cameHere(known, now)
      return
    }
    if (known) return advance(known, run, now)
    const room = run.holder === undefined ? 2 * MOST : MOST
    if (into.size < room) into.set(run.id, begin(run, now))
  }

  /** One that this server has is shown as it is here. Until it is, a run that came here is shown as it was. */
  #cameHere(known: SeenRun, now: number): void {
    const { id } = known.facts
    if (!this.#here.has(id) && this.#sampledAt !== now) {
      this.#sampledAt = now
      this.#here.look()
    }
    if (this.#here.has(id)) this.#drop(known)
  }

  /** @param run Undefined: the store has it no more. */
  #takeLast(id: string, run: LiveRunView | undefined, now: number): void {
    const known = this.#runs.get(id)
    if (!known) return
    const last = run && { ...run, holder: known.facts.node }
    if (last && !last.outcome) this.#take(this.#runs, last, now)
    else this.#end(known, last, now)
  }

  /** @param last what it was at its end. Undefined: nobody knows. */
  #end(known: SeenRun, last: RunElsewhere | undefined, now: number): void {
    if (last) advance(known, last, now)
    else known.facts = { ...known.facts, state: 'ended' }
    this.#drop(known)
  }

  #drop(known: SeenRun): void {
    known.gone = true
    this.#runs.delete(known.facts.id)
    this.#children.delete(known.facts.id)
  }
}

/** The servers that have some of these runs. */
function serversOf(runs: ReadonlyMap<string, SeenRun>): Set<string> {
  return new Set([...runs.values()].flatMap(({ facts: { node } }) => node || []))
}

function begin(run: RunElsewhere, now: number): SeenRun {
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
function advance(seen: SeenRun, run: RunElsewhere, now: number): void {
  const { facts } = seen
  const is = factsOf(run)
  const isSame = is.state === facts.state && is.outcome === facts.outcome
  if (!isSame || is.node !== facts.node || is.parent !== facts.parent)
    seen.facts = { ...is, startedAt: facts.startedAt }
  const { at, items } = seen.newer
  const rate = now > at && !run.outcome ? rounded((Math.max(0, run.last - items) * 1_000) / (now - at)) : 0
  seen.older = seen.newer
  seen.newer = { at: now, items: run.last, bytes: 0 }
  const figures: RunFigures = [run.id, run.last, rate, 0]
  if (figures.some((figure, i) => figure !== seen.figures[i])) seen.figures = figures
}

/** Who reads it is known to its own server only. */
function factsOf(run: RunElsewhere): RunFacts {
  return {
    id: run.id,
    actor: shownName(run.actorName),
    principal: principalName(run.principal),
    node: run.holder ?? '',
    sessions: [],
    ...(run.parent !== undefined && { parent: run.parent }),
    state: run.state,
    ...(run.outcome && { outcome: run.outcome }),
    gated: false,
    detached: false,
    startedAt: run.startedAt,
    readerCount: 0,
    readers: [],
  }
}

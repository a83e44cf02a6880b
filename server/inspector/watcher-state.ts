import type { InspectedSession, InspectorUpdate, RunFacts, RunFigures } from '../../protocol/inspector.ts'
import type { Sampler, SeenRun, SeenSession } from './sampler.ts'

/** Bytes that one update may fill: a picture of a thousand runs is several events, none of which keeps others waiting. */
const UPDATE_BYTES = 16_384

/** What one watcher was told of a run. */
type KnownRun = { readonly facts: RunFacts; readonly figures: RunFigures }

/**
 * What one watcher has been told, and so what there is to tell. It takes as much memory as there are runs and sessions,
 * however long the watcher waits before it asks again.
 */
export class WatcherState {
  readonly #sampler: Sampler
  /** Of whose runs and sessions it is told; undefined: of everybody's. */
  readonly #owner: string | undefined
  readonly #runs = new Map<SeenRun, KnownRun>()
  readonly #sessions = new Map<SeenSession, InspectedSession>()
  #hasBegun = false

  constructor(sampler: Sampler, owner: string | undefined) {
    this.#sampler = sampler
    this.#owner = owner
  }

  /**
   * What is new as of the last look, in pieces: what is told in each is decided when it is asked for. None where only
   * inspectors have said something, as to tell that would be the next thing to tell.
   */
  *updates(): Generator<InspectorUpdate, void> {
    if (this.#hasBegun && !this.#hasNews()) return
    const piece = this.#piece()
    // Those that come while it waits for its reader are told the next time: there may be no end of them.
    for (const seen of [...this.#sampler.runs]) {
      if (seen.gone || !this.#isFor(seen) || this.#isTold(seen)) continue
      if (!piece.takes(this.#sizeOf(seen))) yield piece.cut()
      this.#tellRun(seen, piece)
    }
    for (const seen of this.#runs.keys()) {
      if (!seen.gone) continue
      if (!piece.takes(this.#sizeOf(seen))) yield piece.cut()
      this.#tellEnd(seen, piece)
    }
    for (const seen of [...this.#sampler.sessions]) {
      if (seen.gone || !this.#isFor(seen) || this.#sessions.get(seen) === seen.facts) continue
      if (!piece.takes(sizeOfSession(seen))) yield piece.cut()
      piece.sessions.push(seen.facts)
      this.#sessions.set(seen, seen.facts)
    }
    for (const seen of this.#sessions.keys()) {
      if (!seen.gone) continue
      if (!piece.takes(sizeOfSession(seen))) yield piece.cut()
      piece.goneSessions.push(seen.facts.id)
      this.#sessions.delete(seen)
    }
    yield piece.rest()
  }

  #piece(): Piece {
    const { limits, runtime } = this.#sampler.view
    const scope = this.#hasBegun ? undefined : this.#owner === undefined ? 'all' : 'own'
    this.#hasBegun = true
    const bytes = Math.min(UPDATE_BYTES, limits.maxEvent / 2, limits.maxValues)
    return new Piece(bytes, Math.round(runtime.wallClock()), scope)
  }

  #isFor({ owner }: SeenRun | SeenSession): boolean {
    return this.#owner === undefined || this.#owner === owner
  }

  #isTold(seen: SeenRun): boolean {
    const known = this.#runs.get(seen)
    return known?.facts === seen.facts && known.figures === seen.figures
  }

  #hasNews(): boolean {
    for (const seen of this.#sampler.runs) {
      if (!this.#isFor(seen) || this.#isTold(seen)) continue
      if (!seen.facts.inspector || this.#runs.get(seen)?.facts !== seen.facts) return true
    }
    for (const seen of this.#sampler.sessions)
      if (this.#isFor(seen) && this.#sessions.get(seen) !== seen.facts) return true
    for (const { gone } of this.#runs.keys()) if (gone) return true
    for (const { gone } of this.#sessions.keys()) if (gone) return true
    return false
  }

  /** Bytes that a run takes at most in an update. */
  #sizeOf(seen: SeenRun): number {
    const { facts, figures, gone } = seen
    const known = this.#runs.get(seen)?.facts
    return (known === facts ? 0 : sizeOfFacts(facts)) + 30 + 9 * figures.length + (gone ? 30 : 0)
  }

  #tellRun(seen: SeenRun, piece: Piece): void {
    const { facts, figures } = seen
    if (this.#runs.get(seen)?.facts !== facts) piece.runs.push(facts)
    piece.figures.push(figures)
    this.#runs.set(seen, { facts, figures })
  }

  #tellEnd(seen: SeenRun, piece: Piece): void {
    this.#tellRun(seen, piece)
    this.#runs.delete(seen)
    piece.goneRuns.push(seen.facts.id)
  }
}

/** One update in the making. */
class Piece {
  readonly runs: RunFacts[] = []
  readonly figures: RunFigures[] = []
  readonly sessions: InspectedSession[] = []
  readonly goneRuns: string[] = []
  readonly goneSessions: string[] = []
  readonly #most: number
  readonly #at: number
  #scope: InspectorUpdate['scope']
  #bytes = 0

  constructor(most: number, at: number, scope: InspectorUpdate['scope']) {
    this.#most = most
    this.#at = at
    this.#scope = scope
  }

  /** Whether so many bytes more have room. They have where nothing else is. What it says no to comes after a `cut`. */
  takes(bytes: number): boolean {
    const has = this.#bytes === 0 || this.#bytes + bytes <= this.#most
    this.#bytes = has ? this.#bytes + bytes : bytes
    return has
  }

  /** What there is so far. More follows. */
  cut(): InspectorUpdate {
    return { ...this.rest(), more: true }
  }

  rest(): InspectorUpdate {
    const scope = this.#scope
    this.#scope = undefined
    const { runs, figures, sessions, goneRuns, goneSessions } = this
    return {
      at: this.#at,
      ...(scope && { scope }),
      ...(runs.length > 0 && { runs: runs.splice(0) }),
      ...(figures.length > 0 && { figures: figures.splice(0) }),
      ...(sessions.length > 0 && { sessions: sessions.splice(0) }),
      ...(goneRuns.length > 0 && { goneRuns: goneRuns.splice(0) }),
      ...(goneSessions.length > 0 && { goneSessions: goneSessions.splice(0) }),
    }
  }
}

/** Bytes that the facts of a run take at most. */
function sizeOfFacts({ actor, principal, sessions, readers }: RunFacts): number {
  return 400 + 3 * (actor.length + principal.length) + 30 * sessions.length + 40 * readers.length
}

function sizeOfSession({ facts }: SeenSession): number {
  return 120 + 3 * facts.principal.length
}

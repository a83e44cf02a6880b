import type { InspectedSession, InspectorUpdate, RunFacts, RunFigures } from '../../protocol/inspector.ts'
import type { Principal } from '../actors/principal.ts'
import type { Elsewhere } from './elsewhere.ts'
import type { Sampler, SeenSession } from './sampler.ts'
import type { SeenRun } from './seen-run.ts'

/**
 * Maximum size of one update, in bytes. A list of a thousand runs becomes several events, so that none of them delays
 * the other streams of the connection for long.
 */
const UPDATE_BYTES = 16_384

/** The facts and figures of a run that one watcher has received. */
type KnownRun = { readonly facts: RunFacts; readonly figures: RunFigures }

/**
 * The state that one watcher has received, from which its next updates follow. Its memory grows with the number of runs
 * and sessions, and not with the time between two updates.
 */
export class WatcherState {
  readonly #sampler: Sampler
  readonly #elsewhere: Elsewhere | undefined
  readonly #principal: Principal
  /** The watcher may see everything. */
  readonly #seesAll: boolean
  /** Otherwise, whether it may see a run or session. Asked once for each. */
  readonly #sees = new WeakMap<SeenRun | SeenSession, boolean>()
  readonly #runs = new Map<SeenRun, KnownRun>()
  readonly #sessions = new Map<SeenSession, InspectedSession>()
  #hasBegun = false

  /** @param elsewhere the runs of other servers, for a watcher that wants to see them. */
  constructor(sampler: Sampler, principal: Principal, elsewhere?: Elsewhere) {
    this.#sampler = sampler
    this.#elsewhere = elsewhere
    this.#principal = principal
    this.#seesAll = sampler.view.permits(principal, 'inspect', { type: 'server' })
  }

  /**
   * Yields the changes as of the latest sample, in several updates if necessary. The content of each update is decided
   * when it is pulled. It yields nothing if only figures of inspectors have changed: that report would be the next
   * change.
   */
  *updates(): Generator<InspectorUpdate, void> {
    if (this.#hasBegun && !this.#hasNews()) return
    const piece = this.#piece()
    // A copy: runs that start while the reader is slow wait for the next updates. Otherwise this loop might never end.
    for (const seen of [...this.#seen()]) {
      if (seen.gone || !this.#isFor(seen) || this.#isReported(seen)) continue
      if (!piece.takes(this.#sizeOf(seen))) yield piece.cut()
      this.#reportRun(seen, piece)
    }
    for (const seen of this.#runs.keys()) {
      if (!seen.gone) continue
      if (!piece.takes(this.#sizeOf(seen))) yield piece.cut()
      this.#reportEnd(seen, piece)
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

  *#seen(): Generator<SeenRun, void> {
    yield* this.#sampler.runs
    if (this.#elsewhere) yield* this.#elsewhere.runs
  }

  #piece(): Piece {
    const { limits, runtime } = this.#sampler.view
    const scope = this.#hasBegun ? undefined : this.#seesAll ? 'all' : 'own'
    this.#hasBegun = true
    const bytes = Math.min(UPDATE_BYTES, limits.maxEvent / 2, limits.maxValues)
    return new Piece(bytes, Math.round(runtime.wallClock()), scope)
  }

  #isFor(seen: SeenRun | SeenSession): boolean {
    if (this.#seesAll) return true
    let sees = this.#sees.get(seen)
    if (sees === undefined) {
      sees = this.#sampler.view.permits(this.#principal, 'inspect', seen.target)
      this.#sees.set(seen, sees)
    }
    return sees
  }

  #isReported(seen: SeenRun): boolean {
    const known = this.#runs.get(seen)
    return known?.facts === seen.facts && known.figures === seen.figures
  }

  #hasNews(): boolean {
    for (const seen of this.#seen()) {
      if (!this.#isFor(seen) || this.#isReported(seen)) continue
      if (!seen.facts.inspector || this.#runs.get(seen)?.facts !== seen.facts) return true
    }
    for (const seen of this.#sampler.sessions)
      if (this.#isFor(seen) && this.#sessions.get(seen) !== seen.facts) return true
    for (const { gone } of this.#runs.keys()) if (gone) return true
    for (const { gone } of this.#sessions.keys()) if (gone) return true
    return false
  }

  /** Maximum number of bytes that a run needs in an update. */
  #sizeOf(seen: SeenRun): number {
    const { facts, figures, gone } = seen
    const known = this.#runs.get(seen)?.facts
    return (known === facts ? 0 : sizeOfFacts(facts)) + 30 + 9 * figures.length + (gone ? 30 : 0)
  }

  #reportRun(seen: SeenRun, piece: Piece): void {
    const { facts, figures } = seen
    if (this.#runs.get(seen)?.facts !== facts) piece.runs.push(facts)
    piece.figures.push(figures)
    this.#runs.set(seen, { facts, figures })
  }

  #reportEnd(seen: SeenRun, piece: Piece): void {
    const { id } = seen.facts
    this.#runs.delete(seen)
    // It goes on at another server, or here.
    if (this.#sampler.has(id) || this.#elsewhere?.has(id)) return
    this.#reportRun(seen, piece)
    this.#runs.delete(seen)
    piece.goneRuns.push(id)
  }
}

/** Collects the content of one update within its size. */
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

  /**
   * Reserves space for `bytes` more bytes. An empty update takes any size. False means that the update is full: call
   * `cut`, and put the entry into the next update, which has it reserved.
   */
  takes(bytes: number): boolean {
    const has = this.#bytes === 0 || this.#bytes + bytes <= this.#most
    this.#bytes = has ? this.#bytes + bytes : bytes
    return has
  }

  /** Returns the content so far, marked as followed by more, and starts the next update. */
  cut(): InspectorUpdate {
    return { ...this.rest(), more: true }
  }

  /** Returns the remaining content, as the last update. */
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

/** Maximum number of bytes that the facts of a run need. */
function sizeOfFacts({ actor, principal, sessions, readers }: RunFacts): number {
  return 400 + 3 * (actor.length + principal.length) + 30 * sessions.length + 40 * readers.length
}

function sizeOfSession({ facts }: SeenSession): number {
  return 120 + 3 * facts.principal.length
}

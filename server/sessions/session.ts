import type { Timer } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/actor.ts'
import type { ReadableRun } from '../runs/readable-run.ts'

/** The connection that a session is on, as the session sees it. */
export interface SessionSocket {
  /** Closes the connection with a close code of the protocol. None of its frames is applied any more. */
  fault(code: number, reason: string): void
}

/** Of a session that has opened none. */
const NO_RUNS = new Set<ReadableRun>()

/**
 * The server's record of one client instance: its principal, its current connection, and the live runs that it opened.
 * A session outlives its connections. Forgetting a session does not affect its runs.
 */
export class Session {
  /** A public id, for people and inspectors. It grants nothing. */
  readonly id: string
  readonly principal: Principal
  /** The secret id of the client instance, in hex. */
  readonly client: string
  #runs: Set<ReadableRun> = NO_RUNS
  /** The highest `attempt` of a HELLO so far. */
  attempt = 0
  socket: SessionSocket | undefined
  /** Set while the session has no connection. The session is forgotten when it fires. */
  forget: Timer | undefined

  constructor(id: string, principal: Principal, client: string) {
    this.id = id
    this.principal = principal
    this.client = client
  }

  /** The live runs that it opened. */
  get runs(): ReadonlySet<ReadableRun> {
    return this.#runs
  }

  /** It opened this run. */
  opened(run: ReadableRun): void {
    if (this.#runs === NO_RUNS) this.#runs = new Set()
    this.#runs.add(run)
  }

  /** The run is over. */
  ended(run: ReadableRun): void {
    this.#runs.delete(run)
  }

  /** Its runs go on without it. */
  leaveRuns(): void {
    this.#runs = NO_RUNS
  }

  /** Whether a run that the session opened has not ended. */
  get hasLiveRun(): boolean {
    for (const run of this.runs) if (!run.end) return true
    return false
  }
}

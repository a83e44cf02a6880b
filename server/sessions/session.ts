import type { Timer } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/actor.ts'
import type { ReadableRun } from '../runs/readable-run.ts'

/** The connection that a session is on, as the session sees it. */
export interface SessionSocket {
  /** Closes the connection with a close code of the protocol. None of its frames is applied any more. */
  fault(code: number, reason: string): void
}

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
  readonly runs: Set<ReadableRun> = new Set()
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

  /** Whether a run that the session opened has not ended. */
  get hasLiveRun(): boolean {
    for (const run of this.runs) if (!run.end) return true
    return false
  }
}

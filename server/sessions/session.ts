import type { Timer } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/actor.ts'
import type { ReadableRun } from '../runs/readable-run.ts'

/** What a session needs of the connection that carries it. */
export interface SessionSocket {
  /** Closes it with a code of the protocol: nothing of it is applied any more. */
  fault(code: number, reason: string): void
}

/**
 * The registry's record of one client instance: its principal, the connection it has now, the runs it opened. It
 * outlives its connections; forgetting it touches no run.
 */
export class Session {
  /** A public name, for people and inspectors. It opens nothing. */
  readonly id: string
  readonly principal: Principal
  /** The instance's own secret id, in hex. */
  readonly client: string
  readonly runs: Set<ReadableRun> = new Set()
  /** The highest `attempt` seen. */
  attempt = 0
  socket: SessionSocket | undefined
  /** Runs while it has no connection: when it fires the session is forgotten. */
  forget: Timer | undefined

  constructor(id: string, principal: Principal, client: string) {
    this.id = id
    this.principal = principal
    this.client = client
  }

  /** A run of it still goes on. */
  get hasLiveRun(): boolean {
    for (const run of this.runs) if (!run.end) return true
    return false
  }
}

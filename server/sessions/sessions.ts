import type { Hello } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/actor.ts'
import type { ReadableRun } from '../runs/readable-run.ts'
import { newId } from './ids.ts'
import { Session, type SessionSocket } from './session.ts'

/** The sessions of a node: one for each client instance. They stay with the node, whatever becomes of its runs. */
export class Sessions {
  readonly #runtime: Runtime
  readonly #limits: Pick<Limits, 'resumeMs' | 'maxSessions'>
  readonly #sessions = new Map<string, Session>()
  /** Sessions without a connection, by principal; the session that lost its connection first comes first. */
  readonly #lost = new Map<string, Set<Session>>()
  readonly #sessionsOf = new Map<ReadableRun, Set<Session>>()

  constructor(runtime: Runtime, limits: Pick<Limits, 'resumeMs' | 'maxSessions'>) {
    this.#runtime = runtime
    this.#limits = limits
  }

  /** All sessions that are not forgotten. */
  [Symbol.iterator](): Iterator<Session> {
    return this.#sessions.values()
  }

  /**
   * Finds or creates the session of a client instance that sent HELLO. An `attempt` higher than any before moves the
   * session to this connection, and closes the old one with 4409. Any other `attempt` is a late duplicate: nothing
   * changes, and the result is undefined. `known`: whether the session existed before.
   */
  hello(principal: Principal, hello: Hello, socket: SessionSocket): { session: Session; known: boolean } | undefined {
    const client = Buffer.from(hello.client).toString('hex')
    const id = client + principal.id
    const known = this.#sessions.get(id)
    if (known && hello.attempt <= known.attempt) return undefined
    const session = known ?? new Session(newId('s', this.#runtime), principal, client)
    this.#sessions.set(id, session)
    const old = session.socket
    session.attempt = hello.attempt
    session.socket = socket
    this.#found(session)
    old?.fault(4409, 'this client instance has connected again')
    return { session, known: known !== undefined }
  }

  /** A connection is lost. Its session is kept for `resumeMs`, or forgotten at once if no run of it is live. */
  lost(session: Session, socket: SessionSocket): void {
    if (session.socket !== socket) return
    session.socket = undefined
    if (!session.hasLiveRun) return this.#forget(session)
    session.forget = this.#runtime.setTimer(this.#limits.resumeMs, () => this.#forget(session))
    const lost = this.#lost.get(session.principal.id) ?? new Set()
    this.#lost.set(session.principal.id, lost.add(session))
    const [oldest] = lost
    if (oldest && lost.size > this.#limits.maxSessions) this.#forget(oldest)
  }

  #found(session: Session): void {
    session.forget?.clear()
    session.forget = undefined
    const lost = this.#lost.get(session.principal.id)
    if (lost?.delete(session) && lost.size === 0) this.#lost.delete(session.principal.id)
  }

  #forget(session: Session): void {
    this.#found(session)
    const id = session.client + session.principal.id
    if (this.#sessions.get(id) === session) this.#sessions.delete(id)
    for (const run of session.runs) this.#sessionsOf.get(run)?.delete(session)
    session.leaveRuns()
  }

  /** Records that a session opened a view of a run. */
  opened(session: Session, run: ReadableRun): void {
    if (run.end) return
    session.opened(run)
    const sessions = this.#sessionsOf.get(run) ?? new Set()
    this.#sessionsOf.set(run, sessions.add(session))
  }

  /** A run has ended. */
  ended(run: ReadableRun): void {
    const sessions = this.#sessionsOf.get(run)
    this.#sessionsOf.delete(run)
    for (const session of sessions ?? []) {
      session.ended(run)
      if (!session.socket && !session.hasLiveRun) this.#forget(session)
    }
  }

  /** Forgets all of them. */
  close(): void {
    for (const session of [...this.#sessions.values()]) this.#forget(session)
  }
}

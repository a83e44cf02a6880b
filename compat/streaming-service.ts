import { type ClientRuntime, MillraceError } from '../client-sdk/index.ts'
import { systemRuntime } from '../client-sdk/runtime.ts'
import type { AskTarget, DoneEvent, ErrorEvent } from './stream-ask.ts'
import {
  type SendOptions,
  Session,
  type SessionOptions,
  type SessionStats,
  type StreamingSession,
} from './streaming-session.ts'

/** The options of `streamingService`. */
export type StreamingServiceOptions = {
  /** The most active sessions. A further one is refused. Default 100. */
  maxSessions?: number | undefined
  /** How long nothing may come in a session before it is ended, in milliseconds. Default 30,000. */
  timeoutMs?: number | undefined
  /** How long an ended session can still be found, in milliseconds. Default 60,000. */
  keepMs?: number | undefined
  /** How long texts of an answer are collected before they are handed on, in milliseconds. Default 50. */
  debounceMs?: number | undefined
  /** The most bytes of text of one answer that may wait for `onChunk`. Beyond, the run waits. Default 1,048,576 (1 MiB). */
  maxBytes?: number | undefined
  /** Clock, timers and randomness. Default: the system's. */
  runtime?: ClientRuntime | undefined
}

/** What a service counts, of all sessions since it was made. */
export type ServiceStats = SessionStats & {
  /** Sessions that are active. */
  readonly active: number
  /** Sessions that were created, without those that were refused. */
  readonly created: number
}

/** Sessions that stream answers. Made by `streamingService`. */
export interface StreamingService {
  /** Counts what all sessions have received. */
  readonly stats: ServiceStats
  /**
   * Creates a session. One that is refused, because too many are active or one of its id is, fails each message with
   * the reason (`overloaded` or `key_conflict`).
   */
  createSession(options: SessionOptions): StreamingSession
  /** Finds a session: an active one, or one that has ended less than `keepMs` ago. */
  getSession(id: string): StreamingSession | undefined
  /** The active sessions, the oldest first. */
  listActiveSessions(): StreamingSession[]
  /** Sends a message to a session. An unknown one is an error event of the code `not_found`. */
  stream(id: string, payload: unknown, options?: SendOptions): Promise<DoneEvent | ErrorEvent>
  /** Ends a session, and cancels what is being answered. Returns whether it was active. */
  endSession(id: string): Promise<boolean>
  /** Ends all sessions, and forgets them. */
  close(): Promise<void>
}

const DEFAULTS = { maxSessions: 100, timeoutMs: 30_000, keepMs: 60_000, debounceMs: 50, maxBytes: 1_048_576 }

/**
 * Makes a service of sessions over a client or the router of a server. A session speaks to one actor, counts what comes,
 * and ends by `endSession` or when nothing has come for `timeoutMs`. What has ended is forgotten after `keepMs`. No call
 * of a session throws: each failure is an event of the type `error`.
 * @param target `server.router`, or what `createClient` returns.
 * @throws MillraceError `bad_request` for an option that is not a number of at least 1. `debounceMs` may be 0.
 */
export function streamingService(target: AskTarget, options: StreamingServiceOptions = {}): StreamingService {
  const { runtime = systemRuntime } = options
  const settings = { ...DEFAULTS }
  for (const name of Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[]) {
    const given = options[name] ?? DEFAULTS[name]
    if (!(given >= (name === 'debounceMs' ? 0 : 1)))
      throw new MillraceError('bad_request', `streamingService: ${name} must be a number of at least 1, not ${given}`)
    settings[name] = given
  }
  const { maxSessions, keepMs } = settings
  const sessions = new Map<string, Session>()
  /** Of sessions that are forgotten. */
  const past = { created: 0, totalChunks: 0, totalBytes: 0 }

  const active = (): Session[] => [...sessions.values()].filter(({ state }) => state === 'active')

  const forget = (session: Session): void => {
    if (!sessions.delete(session.id)) return
    past.totalChunks += session.totalChunks
    past.totalBytes += session.totalBytes
  }

  const make = (id: string, given: SessionOptions, ended: () => void): Session =>
    new Session(id, given, { target, runtime, ...settings, ended })

  const find = (id: string): Session => {
    const found = sessions.get(id)
    if (found) return found
    const unknown = make(id, { address: '' }, () => {})
    unknown.refuse(new MillraceError('not_found', `there is no session ${id}: create it first`))
    return unknown
  }

  return {
    get stats() {
      const kept = [...sessions.values()]
      const sum = (name: keyof SessionStats): number => kept.reduce((all, session) => all + session[name], past[name])
      const totals = { totalChunks: sum('totalChunks'), totalBytes: sum('totalBytes') }
      return { active: active().length, created: past.created, ...totals }
    },

    createSession(given) {
      const id = given.id ?? `s_${hex(runtime.randomBytes(12))}`
      const session = make(id, given, () => {
        if (sessions.get(id) === session)
          runtime.setTimer(keepMs, () => sessions.get(id) === session && forget(session))
      })
      const known = sessions.get(id)
      if (known?.state === 'active')
        session.refuse(new MillraceError('key_conflict', `a session ${id} is active: end it first`))
      else if (active().length >= maxSessions)
        session.refuse(new MillraceError('overloaded', `at most ${maxSessions} sessions are active: end one first`))
      else {
        if (known) forget(known)
        sessions.set(id, session)
        past.created++
      }
      return session
    },

    getSession: (id) => sessions.get(id),

    listActiveSessions: active,

    stream: (id, payload, more) => find(id).stream(payload, more),

    async endSession(id) {
      const session = sessions.get(id)
      const wasActive = session?.state === 'active'
      await session?.end()
      return wasActive
    },

    async close() {
      await Promise.all(active().map((session) => session.end()))
      for (const session of [...sessions.values()]) forget(session)
    },
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

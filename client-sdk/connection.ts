import * as CLOSE from '../protocol/close-code.ts'
import { closeAction, type ErrorCode, MillraceError } from '../protocol/errors.ts'
import type { Hello, UpFrame } from '../protocol/frames.ts'
import type { ClientRuntime, Timer } from '../protocol/runtime.ts'
import { WIRE_LIMITS, type WireLimits } from '../protocol/wire-limits.ts'
import { backoff } from './backoff.ts'
import { MAX_FIRST_TRIES } from './own-limits.ts'
import { prepare } from './prepare.ts'
import { report } from './report.ts'
import { systemRuntime } from './runtime.ts'
import {
  type ConnectedStream,
  createSocket,
  page,
  type Socket,
  type SocketOwner,
  type WebSocketClass,
} from './socket.ts'

/**
 * The state of the connection. `idle`: there is none, and nothing needs one. `connecting`: a try is under way. `open`:
 * the server has accepted the client. `lost`: the next try comes after a delay. `closed`: there will be no other try
 * until `connect` is called.
 */
export type Status = 'idle' | 'connecting' | 'open' | 'lost' | 'closed'

/** Receives a status, and for `lost` and `closed` the reason. */
export type StatusListener = (status: Status, error?: MillraceError) => void

/** Times for tests and for unusual networks, in milliseconds. */
export type Delays = {
  /** Silence after which the client sends a PING. Default: the server's `heartbeatMs`; 10,000 before WELCOME. */
  heartbeatMs: number
  /** Time for the server to answer that PING. Default: the server's `pongMs`; 10,000 before WELCOME. */
  pongMs: number
  /** Time for one try to connect, credentials included. Default: half of `connectMs`. */
  tryMs: number
  /** Longest wait before the first try after a loss that hits this client alone. Default 300. */
  quickMs: number
  /** Longest wait before the first try after any other loss. It doubles with each further try. Default 1,000. */
  backoffMs: number
  /** Longest wait before any try. Default 15,000. */
  maxBackoffMs: number
}

export type ConnectionOptions = {
  /**
   * The token of `bearer` or `jwt`, or a function that returns it or a promise of it. The function is called for each
   * try to connect. When it throws, rejects or takes longer than `delays.tryMs`, that try has failed, and the next one
   * comes as after a loss.
   */
  token?: string | (() => string | Promise<string>) | undefined
  /** Credentials of any other shape, in place of `token`, or a function that fetches them. */
  auth?: unknown
  /** A name of this client for the server's records. */
  name?: string | undefined
  /** Least time between two messages of nothing but text, in milliseconds. Default: the server's; at most 1,000. */
  flushMs?: number | undefined
  /**
   * Longest wait for a connection, in milliseconds, of a run that was never opened and of a cancel. Then they end with
   * `connection_lost`. Default 10,000. A run that was open waits as long as the server keeps it: `resumeMs`, 300,000
   * unless the server states another time. `onStatus` reports the loss meanwhile.
   */
  connectMs?: number | undefined
  /**
   * Called with each change of `status`. `error` says why the status is `lost` or `closed`: at once, while runs still
   * wait. Undefined for every other status, and after `close`. An error that it throws changes nothing here: it is
   * reported as an event listener's is, to `error` of the page or `uncaughtException` of Node.
   */
  onStatus?: StatusListener | undefined
  /** The class of sockets. Default: `globalThis.WebSocket`; in Node the class of `ws`. */
  WebSocket?: WebSocketClass | undefined
  /** Clock, timers and random numbers. Default: the system's. */
  runtime?: ClientRuntime | undefined
  /** Times of the heartbeat and of reconnecting. */
  delays?: Partial<Delays> | undefined
}

const BROKEN = 'the server broke the protocol'

/** Events after which the network may be another, or a socket dead without knowing. */
const WAKING = ['online', 'visibilitychange', 'pageshow']

/** The error of the streams when a close code is final. For any other code it is `internal`. */
const STOP_ERRORS: { [closeCode: number]: ErrorCode } = {
  [CLOSE.done]: 'connection_lost',
  [CLOSE.takenOver]: 'connection_lost',
  [CLOSE.unauthenticated]: 'unauthenticated',
  [CLOSE.forbidden]: 'forbidden',
}

/**
 * The final close codes that may be due to what was sent before WELCOME: a late duplicate of an older try has overtaken
 * HELLO, or data exceeds limits that only WELCOME states. They allow one more try, which sends HELLO alone.
 */
const TOO_EARLY: readonly number[] = [1009, CLOSE.malformed, CLOSE.takenOver, CLOSE.tooLarge]

/**
 * The one connection of a client, opened when it is first needed and again when it is lost. Sockets come and go, and
 * the streams stay: the first message of each socket holds HELLO and opens every stream again.
 */
export interface Connection {
  readonly runtime: ClientRuntime
  readonly connectMs: number
  readonly limits: WireLimits & Delays
  /** The same, once the server has stated them. Until then the client assumes the default limits. */
  readonly stated: WireLimits | undefined
  /** What the server can do beyond release 0.1.0, as the last WELCOME lists it. */
  readonly features: readonly string[]
  status(): Status
  /** Calls `listener` with the present status and with each later one, until the function that it returns is called. */
  readonly onStatus: (listener: StatusListener) => () => void
  /** The reason why there is no connection. */
  error(): MillraceError
  /** Connects, if the status is `idle` or `closed`. */
  connect(): void
  /** Opens `stream` as soon as the limits of the server allow it, and again after each loss until it is removed. */
  add(stream: ConnectedStream): void
  /** Opens the next stream in place of this one, which is closed. Returns whether this one had been added. */
  remove(stream: ConnectedStream): boolean
  /** The server has refused a stream because of a limit: opens none within `waitMs`, and then one every `paceMs`. */
  readonly hold: (waitMs: number, paceMs: number) => void
  /** Sends `frame` in one message with the other frames of this loop turn. */
  send(frame: UpFrame): void
  /** Replaces the socket, because its items do not follow each other. */
  resume(): void
  /** Closes the connection, until `connect` is called. */
  close(): void
}

/**
 * Decides when there is a socket: the first one, the one after a loss, and when to give up.
 *
 * This function, like `createSocket`, `createStream` and `createRun`, keeps its state in a closure and not in a class. A
 * minifier shortens the variables of a closure, while each field of a class keeps its `this.#`: as classes they exceed the
 * client's budget (`npm run size`). `Inbox` and `Reader` are worth it, because every token goes through them.
 *
 * @throws MillraceError `bad_request` where there is no WebSocket class and none was given.
 */
export function createConnection(url: string, options: ConnectionOptions): Connection {
  const {
    token,
    auth = token,
    name,
    flushMs,
    onStatus,
    runtime = systemRuntime,
    connectMs = 10_000,
    delays,
    WebSocket = page.WebSocket,
  } = options
  if (!WebSocket) throw new MillraceError('bad_request', 'no WebSocket: set options.WebSocket')
  const isFetched = typeof auth === 'function'
  const client = runtime.randomBytes(16)
  const greeting = prepare({ kind: 'hello', client, attempt: 0, name, flushMs, auth: isFetched ? null : auth } as Hello)
  const streams = new Set<ConnectedStream>()
  let status: Status = 'idle'
  /** The reason that was reported with it. */
  let statusError: MillraceError | undefined
  const listeners = new Set<StatusListener>(onStatus && [onStatus])
  let attempt = 0
  let socket: Socket | undefined
  /** The time of the last WELCOME. */
  let welcomedAt: number | undefined
  /** Losses in a row: a connection that was open for `heartbeatMs` begins a new row. */
  let losses = 0
  /** A close that allows one more try has used it. */
  let hadLastChance = false
  let retryAfterMs = 0
  /** GOAWAY allows no try before this time. */
  let notBefore = 0
  /** Ends a try that takes too long, or begins the next one. */
  let timer: Timer | undefined
  /** The last NOTICE that is of no stream explains the close that follows. */
  let notice: string | undefined
  const unreachable = `${url} cannot be reached`
  /** Why there is no connection, and the error behind it. */
  let why = unreachable
  let cause: unknown
  /** The reason why it is closed. */
  let over: MillraceError | undefined

  const after = (ms: number, callback: () => void): void => {
    timer?.clear()
    timer = runtime.setTimer(ms, callback)
  }

  const become = (next: Status, error?: MillraceError): void => {
    if (status === next) return
    status = next
    statusError = error
    // At rest, nothing is to be woken. Adding a listener again changes nothing.
    const isAtRest = next === 'idle' || next === 'closed'
    for (const type of WAKING) page[isAtRest ? 'removeEventListener' : 'addEventListener']?.(type, wake)
    // A listener may connect or close: the others have had the newer status then.
    for (const listener of listeners) if (status === next) tell(listener)
  }

  const tell = (listener: StatusListener): void => {
    try {
      listener(status, statusError)
    } catch (thrown) {
      report(thrown)
    }
  }

  /** The network returned, or the page was shown or hidden: a lost connection may succeed now, an open one may be dead. */
  const wake = (): void => {
    if (status !== 'lost') socket?.probe()
    else if (runtime.now() >= notBefore) void connect()
  }

  const failed = (reason: string, error?: unknown): void => {
    why = reason
    cause = error
  }

  const explain = (code: ErrorCode = 'connection_lost'): MillraceError =>
    over ?? new MillraceError(code, why, { cause })

  const connect = async (): Promise<void> => {
    const mine = ++attempt
    const isCurrent = (): boolean => mine === attempt && status === 'connecting'
    const { tryMs } = connection.limits
    let credentials: unknown = greeting.auth
    notice = undefined
    after(tryMs, () => {
      failed(`no ${socket ? 'answer' : 'credentials'} within ${tryMs} ms`)
      lose(true)
    })
    become('connecting')
    try {
      if (isFetched) credentials = await (auth as () => unknown)()
    } catch (error) {
      if (!isCurrent()) return
      failed(`no credentials: ${textOf(error)}`, error)
      lose(false)
    }
    if (!isCurrent()) return
    try {
      const isEager = !hadLastChance && (losses === 0 || !!connection.stated)
      socket = createSocket(connection, WebSocket, url, { ...greeting, auth: credentials, attempt }, isEager)
    } catch (error) {
      // An address, or credentials, of which no WebSocket can be made: another try would fail in the same way.
      failed(textOf(error), error)
      stop('bad_request')
    }
  }

  const leave = (closeCode?: number): void => {
    socket?.close(closeCode)
    socket = undefined
    timer?.clear()
    for (const stream of streams) stream.lost()
  }

  /**
   * Leaves the socket, and connects again if any stream needs it. `isSingle`: only this client lost its socket.
   * Otherwise many may have to come back at once, and the next try waits longer. The status is reported last, because
   * the application may connect or close when it learns it.
   */
  const lose = (isSingle: boolean, closeCode?: number): void => {
    const { heartbeatMs, quickMs } = connection.limits
    if (status === 'open' && runtime.now() - welcomedAt! >= heartbeatMs) losses = 0
    const n = losses++
    leave(closeCode)
    if (welcomedAt === undefined && losses >= MAX_FIRST_TRIES) giveUp()
    const waitMs = isSingle && n === 0 ? runtime.random() * quickMs : backoff(connection, n)
    notBefore = runtime.now() + retryAfterMs
    after(retryAfterMs + waitMs, () => void connect())
    retryAfterMs = 0
    become('lost', explain())
    if (status === 'lost' && streams.size === 0) {
      losses = 0
      timer?.clear()
      become('idle')
    }
  }

  /** `code`: of the error, unless the application itself has closed. */
  const stop = (code?: ErrorCode, closeCode?: number): void => {
    if (over) return
    if (!code) failed('the client is closed', cause)
    over = explain(code)
    leave(closeCode)
    giveUp()
    become('closed', code && over)
  }

  const giveUp = (): void => {
    for (const stream of streams) stream.giveUp()
  }

  const connection: Connection &
    SocketOwner & { limits: WireLimits & Delays; stated: WireLimits | undefined; features: readonly string[] } = {
    runtime,
    connectMs,
    streams,
    limits: {
      ...WIRE_LIMITS,
      quickMs: 300,
      backoffMs: 1_000,
      maxBackoffMs: 15_000,
      tryMs: connectMs / 2,
      ...delays,
    },
    features: [],

    stated: undefined,

    status: () => status,
    error: explain,

    onStatus(listener) {
      listeners.add(listener)
      tell(listener)
      return () => void listeners.delete(listener)
    },

    connect() {
      if (over) {
        over = undefined
        hadLastChance = false
        losses = 0
        status = 'idle'
      }
      if (status === 'idle') void connect()
    },

    add(stream): void {
      if (over) return stream.giveUp()
      streams.add(stream)
      socket?.send()
      connection.connect()
    },

    remove(stream) {
      stream.sid = 0
      socket?.send()
      return streams.delete(stream)
    },

    hold: (waitMs, paceMs) => socket?.hold(waitMs, paceMs),
    send: (frame) => socket?.send(frame),
    close: () => stop(undefined, CLOSE.done),

    resume() {
      failed(BROKEN)
      lose(true, CLOSE.sequenceFault)
    },

    welcome({ limits, features = [] }) {
      connection.limits = connection.stated = { ...connection.limits, ...limits, ...delays }
      connection.features = features
      welcomedAt = runtime.now()
      hadLastChance = false
      failed(unreachable)
      timer?.clear()
      become('open')
    },

    goaway(frame) {
      retryAfterMs = frame.retryAfterMs ?? 0
    },

    notice({ message }) {
      notice = message
    },

    malformed(fault) {
      failed(BROKEN, fault)
      stop('internal', CLOSE.malformed)
    },

    closed(code, reason, error): void {
      const what = code === 1006 ? unreachable : `the server closed with ${code}`
      const detail = reason || (error ? textOf(error) : '')
      failed(notice ?? what + (detail && `: ${detail}`), error)
      const action = closeAction(code)
      if (action === 'resume') return lose(code === 1005 || code === 1006)
      const mayHelp = {
        stop: status !== 'open' && TOO_EARLY.includes(code),
        resume_once: true,
        // Fixed credentials would be refused again.
        reauthenticate: isFetched,
      }
      if (mayHelp[action] && !hadLastChance) {
        hadLastChance = true
        return lose(true)
      }
      stop(STOP_ERRORS[code] ?? 'internal')
    },
  }

  return connection
}

/** The text of a thrown value. Node reports a refused `localhost` with a code and no message. */
function textOf(error: unknown): string {
  const { message, code } = Object(error) as { message?: string; code?: string }
  return message || code || String(error)
}

import * as CLOSE from '../protocol/close-code.ts'
import { closeAction, type ErrorCode, MillraceError } from '../protocol/errors.ts'
import type { Hello, UpFrame } from '../protocol/frames.ts'
import type { ClientRuntime, Timer } from '../protocol/runtime.ts'
import { WIRE_LIMITS, type WireLimits } from '../protocol/wire-limits.ts'
import { backoff } from './backoff.ts'
import { MAX_FIRST_TRIES } from './own-limits.ts'
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
 * the server has accepted the client. `lost`: the next try comes after a delay. `closed`: there will be no other try.
 */
export type Status = 'idle' | 'connecting' | 'open' | 'lost' | 'closed'

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
  /** The token of `bearer` or `jwt`, or a function that fetches it for each try to connect. */
  token?: string | (() => string | Promise<string>)
  /** Credentials of any other shape, in place of `token`, or a function that fetches them. */
  auth?: unknown
  /** A name of this client for the server's records. */
  name?: string
  /** Least time between two messages of nothing but text, in milliseconds. Default: the server's; at most 1,000. */
  flushMs?: number
  /**
   * Longest wait for a connection, in milliseconds, of a run that was never opened and of a cancel. Then they end with
   * `connection_lost`. Default 10,000. A run that was open waits as long as the server keeps it: `resumeMs`, 300,000
   * unless the server states another time. `onStatus` reports the loss meanwhile.
   */
  connectMs?: number
  /** Called with each change of `status`. */
  onStatus?: (status: Status) => void
  /** The class of sockets. Default: `globalThis.WebSocket`; in Node the class of `ws`. */
  WebSocket?: WebSocketClass
  /** Clock, timers and random numbers. Default: the system's. */
  runtime?: ClientRuntime
  /** Times of the heartbeat and of reconnecting. */
  delays?: Partial<Delays>
}

/** The error of the streams when a close code is final. For any other code it is `internal`. */
const STOP_ERRORS: { [closeCode: number]: ErrorCode } = {
  [CLOSE.done]: 'connection_lost',
  [CLOSE.takenOver]: 'connection_lost',
  [CLOSE.unauthenticated]: 'unauthenticated',
  [CLOSE.forbidden]: 'forbidden',
}

/**
 * The one connection of a client, opened when it is first needed and again when it is lost. Sockets come and go, and
 * the streams stay: the first message of each socket holds HELLO and opens every stream again.
 */
export interface Connection {
  readonly runtime: ClientRuntime
  readonly connectMs: number
  readonly limits: WireLimits & Delays
  /** The streams to open on each socket. A stream that is closed is deleted here. */
  readonly streams: Set<ConnectedStream>
  status(): Status
  /** The reason why there is no connection. */
  error(): MillraceError
  /** Connects, if the status is `idle`. */
  connect(): void
  /** Opens `stream` with the next message, and again after each loss until it is deleted. */
  add(stream: ConnectedStream): void
  /** Sends `frame` in one message with the other frames of this loop turn. */
  send(frame: UpFrame): void
  /** Replaces the socket, because its items do not follow each other. */
  resume(): void
  /** Closes the connection for good. */
  close(): void
}

/**
 * Decides when there is a socket: the first one, the one after a loss, and when to give up.
 *
 * This function, like `createSocket`, `createInbox`, `createStream`, `createReader` and `createRun`, keeps its state in
 * a closure and not in a class. A minifier shortens the variables of a closure, while each field of a class keeps its
 * `this.#`: as classes they exceed the client's budget (`npm run size`).
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
  if (!WebSocket) throw new MillraceError('bad_request', 'no WebSocket class: set options.WebSocket')
  const client = runtime.randomBytes(16)
  const streams = new Set<ConnectedStream>()
  let status: Status = 'idle'
  let attempt = 0
  let socket: Socket | undefined
  /** The time of the last WELCOME. */
  let welcomedAt: number | undefined
  /** Losses in a row: a connection that was open for `heartbeatMs` begins a new row. */
  let losses = 0
  /** A close that allows one more try has used it. */
  let hadLastChance = false
  let retryAfterMs = 0
  /** Ends a try that takes too long, or begins the next one. */
  let timer: Timer | undefined
  /** The last NOTICE that is of no stream, and the last error of a WebSocket: they explain a failure. */
  let notice: string | undefined
  let cause: unknown
  /** The reason why it is closed for good. */
  let over: MillraceError | undefined

  const after = (ms: number, callback: () => void): void => {
    timer?.clear()
    timer = runtime.setTimer(ms, callback)
  }

  const become = (next: Status): void => {
    if (status === next) return
    status = next
    onStatus?.(next)
  }

  const connect = async (): Promise<void> => {
    const mine = ++attempt
    const isCurrent = (): boolean => mine === attempt && status === 'connecting'
    after(connection.limits.tryMs, () => lose(true))
    become('connecting')
    try {
      const credentials: unknown = typeof auth === 'function' ? await (auth as () => unknown)() : auth
      const hello = { kind: 'hello', auth: credentials, client, attempt, name, flushMs } as Hello
      if (isCurrent()) socket = createSocket(connection, WebSocket, url, hello)
    } catch (error) {
      if (!isCurrent()) return
      cause = error
      lose(false)
    }
  }

  const leave = (next: Status, closeCode?: number): void => {
    socket?.close(closeCode)
    socket = undefined
    timer?.clear()
    for (const stream of streams) stream.lost()
    become(next)
  }

  /**
   * Leaves the socket, and connects again if any stream needs it. `isSingle`: only this client lost its socket.
   * Otherwise many may have to come back at once, and the next try waits longer.
   */
  const lose = (isSingle: boolean, closeCode?: number): void => {
    const { heartbeatMs, quickMs } = connection.limits
    if (status === 'open' && runtime.now() - welcomedAt! >= heartbeatMs) losses = 0
    const n = losses++
    leave('lost', closeCode)
    if (welcomedAt === undefined && losses >= MAX_FIRST_TRIES) giveUp()
    if (streams.size === 0) {
      losses = 0
      return become('idle')
    }
    const waitMs = isSingle && n === 0 ? runtime.random() * quickMs : backoff(connection, n)
    after(retryAfterMs + waitMs, () => void connect())
    retryAfterMs = 0
  }

  const stop = (code: ErrorCode, message: string, closeCode: number = CLOSE.done): void => {
    if (over) return
    over = new MillraceError(code, message, { cause })
    leave('closed', closeCode)
    giveUp()
  }

  const giveUp = (): void => {
    for (const stream of streams) stream.giveUp()
  }

  const connection: Connection & SocketOwner & { limits: WireLimits & Delays } = {
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

    status: () => status,
    error: () => over ?? new MillraceError('connection_lost', notice ?? `${url} cannot be reached`, { cause }),

    connect() {
      if (status === 'idle') void connect()
    },

    add(stream): void {
      if (over) return stream.giveUp()
      streams.add(stream)
      socket?.send()
      connection.connect()
    },

    send: (frame) => socket?.send(frame),
    resume: () => lose(true, CLOSE.sequenceFault),
    close: () => stop('connection_lost', 'the client is closed'),

    welcome({ limits }) {
      connection.limits = { ...connection.limits, ...limits, ...delays }
      welcomedAt = runtime.now()
      hadLastChance = false
      cause = notice = undefined
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
      cause = fault
      stop('internal', 'the server broke the protocol', CLOSE.malformed)
    },

    closed(code, error): void {
      cause = error
      const action = closeAction(code)
      if (action === 'resume') return lose(code === 1005 || code === 1006)
      // A late duplicate of an older try may have overtaken HELLO. Fixed credentials would be refused again.
      const mayHelp =
        action === 'stop'
          ? code === CLOSE.takenOver && status !== 'open'
          : action !== 'reauthenticate' || typeof auth === 'function'
      if (mayHelp && !hadLastChance) {
        hadLastChance = true
        return lose(true)
      }
      stop(STOP_ERRORS[code] ?? 'internal', notice ?? `the server closed with ${code}`)
    },
  }

  return connection
}

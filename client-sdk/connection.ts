import * as CLOSE from '../protocol/close-code.ts'
import { decodeDown } from '../protocol/decode.ts'
import { joinFrames, packUp } from '../protocol/encode.ts'
import { closeAction, type ErrorCode, MillraceError } from '../protocol/errors.ts'
import {
  type Delta,
  type DownFrame,
  type End,
  type EventFrame,
  type Gap,
  type Hello,
  type InputAck,
  type Notice,
  type Opened,
  SUBPROTOCOL,
  type UpFrame,
} from '../protocol/frames.ts'
import type { ClientRuntime, Timer } from '../protocol/runtime.ts'
import { WIRE_LIMITS, type WireLimits } from '../protocol/wire-limits.ts'
import { systemRuntime } from './runtime.ts'

/**
 * Where the connection stands: not there and not needed; a try is under way; usable; lost, to be tried again after a
 * delay; over for good.
 */
export type Status = 'idle' | 'connecting' | 'open' | 'lost' | 'closed'

/** What a client uses of a WebSocket. The handlers are typed loosely, so that a browser's class and that of `ws` fit. */
export interface WebSocketLike {
  binaryType: string
  onopen: unknown
  onmessage: unknown
  onclose: unknown
  onerror: unknown
  send(data: Uint8Array): void
  close(code?: number): void
}

export type WebSocketClass = new (url: string, protocol: string) => WebSocketLike

/** Times for tests and for unusual networks, in milliseconds. */
export type Delays = {
  /** Silence after which the server is asked for a sign of life. Default: what the server says, 10,000 before it does. */
  heartbeatMs: number
  /** Time for that sign to come. Default: what the server says, 10,000 before it does. */
  pongMs: number
  /** A try that has not been answered within this time is given up for the next one. Default: half of `connectMs`. */
  tryMs: number
  /** The first try after a loss comes within this time. Default 300. */
  quickMs: number
  /** Later ones come within this time, doubled with each. Default 1,000. */
  backoffMs: number
  /** The longest such time. Default 15,000. */
  maxBackoffMs: number
}

export type ConnectionOptions = {
  /** The token of `bearer` or `jwt`, or a function that fetches it for each connection. */
  token?: string | (() => string | Promise<string>)
  /** In place of `token`: credentials of any other shape, or a function that fetches them. */
  auth?: unknown
  /** What this client calls itself in the server's records. */
  name?: string
  /** Least milliseconds between two messages of text. Default: what the server does. */
  flushMs?: number
  /**
   * How long a run that was never opened, and a cancel, may wait for a connection before they end with `connection_lost`,
   * in milliseconds. Default 10,000. A run that was open waits as long as the server keeps it (`resumeMs`, 300,000 unless
   * the server says otherwise); `onStatus` tells meanwhile.
   */
  connectMs?: number
  /** Hears every change of `status`. */
  onStatus?: (status: Status) => void
  /** The class to make connections with. Default: `globalThis.WebSocket`, in Node that of `ws`. */
  WebSocket?: WebSocketClass
  /** Clock, timers and chance. Default: the system's. */
  runtime?: ClientRuntime
  /** Heartbeat and reconnection. */
  delays?: Partial<Delays>
}

/** What a connection asks of a stream. The functions named like a frame are called with it. */
export interface ConnectedStream {
  /** Its number on the present connection; 0 while it waits for one, negative while it wants none. */
  sid: number
  /** A message is on its way that may open this stream as number `sid`. */
  open(sid: number): void
  /** The connection is gone, or the server cannot open this stream now. */
  lost(): void
  /** Ends this stream, if it is lost, for that reason. */
  giveUp(reason: MillraceError): void
  opened(frame: Opened): void
  delta(frame: Delta): void
  event(frame: EventFrame): void
  gap(frame: Gap): void
  input_ack(frame: InputAck): void
  notice(frame: Notice): void
  end(frame: End): void
}

/** Bytes, and values, that a frame may still gain when it is sent. */
const SPARE = 64

/** After so many tries without one success there is nothing at this address. */
const MAX_FIRST_TRIES = 8

/** A timer this late slept together with the machine: what came meanwhile has not been read yet. */
const LATE_MS = 1_000

const DEFAULT_DELAYS = { quickMs: 300, backoffMs: 1_000, maxBackoffMs: 15_000 }

/** What the streams are told when a close code ends the connection for good; the others are faults of the protocol. */
const STOP_ERRORS: { [closeCode: number]: ErrorCode } = {
  [CLOSE.done]: 'connection_lost',
  [CLOSE.takenOver]: 'connection_lost',
  [CLOSE.unauthenticated]: 'unauthenticated',
  [CLOSE.forbidden]: 'forbidden',
}

/** What a page has, where there is one: it wakes up, and the network returns. */
const page = globalThis as {
  WebSocket?: WebSocketClass
  addEventListener?(type: string, listener: () => void): void
  removeEventListener?(type: string, listener: () => void): void
}
const WAKING = ['online', 'visibilitychange']

/**
 * The one connection of a client, opened when first needed and again when lost. Sockets come and go, the streams stay:
 * the first message of each socket says who this is and opens every stream again.
 */
export interface Connection {
  readonly runtime: ClientRuntime
  readonly connectMs: number
  limits: WireLimits & Delays
  status(): Status
  /** Why there is no connection. */
  error(): MillraceError
  /** Opens the connection, if nobody did. */
  connect(): void
  /** Opens `stream` with the next message, and again after each loss until it is removed. */
  add(stream: ConnectedStream): void
  remove(stream: ConnectedStream): void
  /** Sends with the other frames of this turn. */
  send(frame: UpFrame): void
  /**
   * A copy of `frame` that its maker's later changes do not reach.
   * @throws MillraceError `bad_request` for data that cannot travel, and for a number among `counts` that counts nothing.
   */
  prepare<Frame extends UpFrame>(frame: Frame, counts?: object): Frame
  /** A random time to wait before try `n`, the first being 0. */
  delay(n: number): number
  /** Leaves the socket, whose items do not follow each other, for a new one. */
  resume(): void
  /** Ends the connection for good. */
  close(): void
}

/** @throws MillraceError `bad_request` where there is no WebSocket class and none was given. */
export function createConnection(url: string, options: ConnectionOptions): Connection {
  const { token, auth = token, name, flushMs, onStatus, runtime = systemRuntime, connectMs = 10_000, delays } = options
  const { WebSocket = page.WebSocket } = options
  if (!WebSocket) throw new MillraceError('bad_request', 'no WebSocket here: give a class as options.WebSocket')
  const client = runtime.randomBytes(16)
  const streams = new Set<ConnectedStream>()
  const bySid = new Map<number, ConnectedStream>()
  let status: Status = 'idle'
  let attempt = 0
  let lastSid = 0
  let socket: WebSocketLike | undefined
  /** Encoded frames that wait for the end of this turn, or for WELCOME. None before the socket is open. */
  let outbox: number[][] | undefined
  let isFlushing = false
  let sentBytes = 0
  let welcomedAt: number | undefined
  let heardAt = 0
  let wasOpen = false
  /** Losses since the connection last was stable. */
  let losses = 0
  /** A close that allows one more try has used it. */
  let hadLastChance = false
  let retryAfterMs = 0
  /** For WELCOME, a sign of life or the next try: never two of them. */
  let timer: Timer | undefined
  /** What was last said of why it does not work. */
  let notice: string | undefined
  let cause: unknown
  /** Why it is closed for good. */
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

  const schedule = (): void => {
    if (isFlushing) return
    isFlushing = true
    queueMicrotask(() => {
      isFlushing = false
      flush()
    })
  }

  /** Sends what waits in as few messages as fit. Before WELCOME the server takes a limited number of bytes. */
  const flush = (): void => {
    if (!outbox) return
    for (const stream of streams) {
      if (stream.sid) continue
      bySid.set(++lastSid, stream)
      stream.open(lastSid)
    }
    const { maxMessage, beforeWelcomeBytes } = connection.limits
    while (outbox.length > 0) {
      const isOpen = welcomedAt !== undefined
      const room = isOpen ? maxMessage : beforeWelcomeBytes - sentBytes
      let size = outbox[0]!.length
      let n = 1
      if (!isOpen && size > room) return
      while (n < outbox.length && size + outbox[n]!.length <= room) size += outbox[n++]!.length
      sentBytes += size
      socket?.send(joinFrames(outbox.splice(0, n)))
    }
  }

  const connect = async (): Promise<void> => {
    const mine = ++attempt
    const isCurrent = (): boolean => mine === attempt && status === 'connecting'
    after(connection.limits.tryMs, () => lose(true))
    become('connecting')
    try {
      const credentials: unknown = typeof auth === 'function' ? await (auth as () => unknown)() : auth
      if (!isCurrent()) return
      const greeting = packUp({ kind: 'hello', auth: credentials, client, attempt, name, flushMs } as Hello)
      const opening = new WebSocket(url, SUBPROTOCOL)
      // A socket that was left may still speak, or be closed, late.
      const handler =
        <Event>(handle: (event: Event) => void) =>
        (event: Event): void => {
          if (opening === socket) handle(event)
        }
      socket = opening
      opening.binaryType = 'arraybuffer'
      opening.onopen = handler(() => {
        outbox = [greeting]
        lastSid = sentBytes = 0
        flush()
      })
      opening.onmessage = handler(receive)
      opening.onclose = handler(closed)
      opening.onerror = handler(({ error }: { error?: unknown }) => {
        cause = error
      })
    } catch (error) {
      if (!isCurrent()) return
      cause = error
      lose(false)
    }
  }

  const receive = ({ data }: { data: unknown }): void => {
    const { limits } = connection
    const from = socket
    heardAt = runtime.now()
    let frames: DownFrame[]
    try {
      // Text is malformed, and what it says must not be taken for a length.
      const bytes = new Uint8Array(typeof data === 'string' ? [] : (data as ArrayBuffer))
      frames = decodeDown(bytes, { ...limits, maxBytes: limits.maxDown })
    } catch (fault) {
      cause = fault
      return stop('internal', 'the server broke the protocol', CLOSE.malformed)
    }
    let ping: number | undefined
    for (const frame of frames) {
      switch (frame.kind) {
        case 'welcome':
          connection.limits = { ...limits, ...frame.limits, ...delays }
          welcomedAt = heardAt
          wasOpen = true
          hadLastChance = false
          cause = notice = undefined
          listen()
          schedule()
          become('open')
          break
        case 'ping':
          ping = frame.nonce
          break
        case 'pong':
          break
        case 'goaway':
          retryAfterMs = frame.retryAfterMs ?? 0
          break
        case 'notice':
          if (frame.ref?.sid) bySid.get(frame.ref.sid)?.notice(frame)
          else notice = frame.message
          break
        default:
          bySid.get(frame.sid)?.[frame.kind](frame as never)
      }
      if (from !== socket) return
    }
    if (ping !== undefined) connection.send({ kind: 'pong', nonce: ping })
  }

  /** Waits for the server to say something, asks for a sign of life, and leaves the socket when none comes. */
  const listen = (): void => {
    const { heartbeatMs, pongMs } = connection.limits
    const now = runtime.now()
    const silentMs = now - heardAt
    if (silentMs >= heartbeatMs + pongMs) return lose(true)
    const asks = silentMs >= heartbeatMs
    if (asks) connection.send({ kind: 'ping', nonce: Math.floor(now) })
    const waitMs = heartbeatMs + (asks ? pongMs : 0) - silentMs
    after(waitMs, () => {
      if (runtime.now() - now > waitMs + LATE_MS) probe()
      else listen()
    })
  }

  /** Asks for a sign of life now. */
  const probe = (): void => {
    if (status !== 'open') return
    heardAt = runtime.now() - connection.limits.heartbeatMs
    listen()
  }

  const closed = ({ code }: { code: number }): void => {
    const action = closeAction(code)
    if (action === 'resume') return lose(code === 1005 || code === 1006)
    // The same credentials would be refused again.
    const isFixed = action === 'reauthenticate' && typeof auth !== 'function'
    const mayHelp = (action !== 'stop' && !isFixed) || (code === CLOSE.takenOver && welcomedAt === undefined)
    if (mayHelp && !hadLastChance) {
      hadLastChance = true
      return lose(true)
    }
    stop(STOP_ERRORS[code] ?? 'internal', notice ?? `the server closed with ${code}`)
  }

  /** Leaves the socket: nothing that it still says is heard. */
  const leave = (next: Status, code?: number): void => {
    const left = socket
    socket = outbox = welcomedAt = undefined
    timer?.clear()
    bySid.clear()
    left?.close(code)
    for (const stream of streams) stream.lost()
    become(next)
  }

  /** The socket is of no use any more. `isSingle`: not many clients at once lose theirs, so the next try may come soon. */
  const lose = (isSingle: boolean, code?: number): void => {
    const { heartbeatMs, quickMs } = connection.limits
    if (welcomedAt !== undefined && runtime.now() - welcomedAt >= heartbeatMs) losses = 0
    const n = losses++
    leave('lost', code)
    if (!wasOpen && losses >= MAX_FIRST_TRIES) giveUp()
    if (streams.size === 0) {
      losses = 0
      return become('idle')
    }
    after(retryAfterMs + (isSingle && n === 0 ? runtime.random() * quickMs : connection.delay(n)), () => void connect())
    retryAfterMs = 0
  }

  const stop = (code: ErrorCode, message: string, closeCode: number = CLOSE.done): void => {
    if (over) return
    over = new MillraceError(code, message, { cause })
    for (const type of WAKING) page.removeEventListener?.(type, probe)
    leave('closed', closeCode)
    giveUp()
  }

  const giveUp = (): void => {
    for (const stream of streams) stream.giveUp(connection.error())
  }

  const connection: Connection = {
    runtime,
    connectMs,
    limits: { ...WIRE_LIMITS, ...DEFAULT_DELAYS, tryMs: connectMs / 2, ...delays },
    status: () => status,
    error: () => over ?? new MillraceError('connection_lost', notice ?? `${url} cannot be reached`, { cause }),

    connect() {
      if (status === 'idle') void connect()
    },

    add(stream) {
      if (over) {
        stream.giveUp(over)
        return
      }
      streams.add(stream)
      schedule()
      connection.connect()
    },

    remove(stream) {
      streams.delete(stream)
      bySid.delete(stream.sid)
    },

    send(frame) {
      outbox?.push(packUp(frame))
      schedule()
    },

    prepare(frame, counts = {}) {
      for (const [name, count] of Object.entries(counts)) {
        if (typeof count === 'number' && !(Number.isSafeInteger(count) && count >= 0))
          throw new MillraceError('bad_request', `${name} must be an integer of at least 0`)
      }
      const { length } = packUp(frame)
      const { maxMessage, maxValues } = connection.limits
      // Its number, its credit and its rate may still grow.
      if (length > maxMessage - SPARE || countOf(frame) > maxValues - SPARE)
        throw new MillraceError('bad_request', `too large: maxMessage is ${maxMessage}, maxValues ${maxValues}`)
      return structuredClone(frame)
    },

    delay(n) {
      const { backoffMs, maxBackoffMs } = connection.limits
      return runtime.random() * Math.min(maxBackoffMs, backoffMs * 2 ** n)
    },

    resume: () => lose(true, CLOSE.sequenceFault),
    close: () => stop('connection_lost', 'the client is closed'),
  }

  for (const type of WAKING) page.addEventListener?.(type, probe)
  return connection
}

/** How many values something is on the wire: itself, and all that it holds. */
function countOf(value: unknown): number {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return 1
  const perEntry = Array.isArray(value) ? 0 : 1
  return Object.values(value).reduce((sum: number, inner) => sum + perEntry + countOf(inner), 1)
}

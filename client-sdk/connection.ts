import { decodeDown } from '../protocol/decode.ts'
import { encodeUp } from '../protocol/encode.ts'
import { CLOSE, closeAction, type ErrorCode, MillraceError } from '../protocol/errors.ts'
import { type DownFrame, type Hello, SUBPROTOCOL, type UpFrame } from '../protocol/frames.ts'
import { DEFAULT_LIMITS, type Limits } from '../protocol/limits.ts'
import type { Runtime, Timer } from '../protocol/runtime.ts'
import { type Deferred, deferred } from './deferred.ts'
import type { Stream } from './stream.ts'

/**
 * Where the connection stands: not needed yet; a try is under way; usable; gone, to be tried again after a delay; over
 * for good.
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
  url: string
  WebSocket: WebSocketClass
  runtime: Runtime
  /** Credentials, or a function that fetches them for each try. */
  auth: unknown
  hello: Pick<Hello, 'name' | 'flushMs'>
  connectMs: number
  delays: Partial<Delays> | undefined
  onStatus: ((status: Status) => void) | undefined
}

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

/** The page, where there is one: it wakes up, and the network returns. */
const page = globalThis as {
  addEventListener?(type: string, listener: () => void): void
  removeEventListener?(type: string, listener: () => void): void
}
const WAKING = ['online', 'visibilitychange']

/**
 * The one connection of a client, opened when first needed and again when lost. Sockets come and go, the streams stay:
 * the first message of each socket says who this is and opens every stream again.
 */
export class Connection {
  readonly runtime: Runtime
  readonly connectMs: number
  status: Status = 'idle'
  limits: Limits & Delays
  readonly #options: ConnectionOptions
  readonly #client: Uint8Array
  readonly #streams = new Set<Stream>()
  /** Streams that the next message opens. */
  readonly #waiting = new Set<Stream>()
  /** Streams by their number on the present socket. */
  readonly #bySid = new Map<number, Stream>()
  #lastSid = 0
  #attempt = 0
  #socket: WebSocketLike | undefined
  /** Encoded frames that wait for the end of this turn, or for WELCOME. None before the socket is open. */
  #outbox: Uint8Array[] | undefined
  #flushing = false
  #sentBytes = 0
  #welcomedAt: number | undefined
  #heardAt = 0
  #everOpen = false
  /** Losses since the connection last was stable. */
  #losses = 0
  /** True once a close that allows one more try has used it. */
  #lastChance = false
  #malformed = false
  #retryAfterMs = 0
  /** What is waited for: WELCOME, a sign of life or the next try, never two of them. */
  #timer: Timer | undefined
  #opening: Deferred<void> | undefined
  /** What was last said of why it does not work. */
  #notice: string | undefined
  #cause: unknown
  /** Why it is closed. */
  #over: MillraceError | undefined

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.runtime = options.runtime
    this.connectMs = options.connectMs
    this.limits = { ...DEFAULT_LIMITS, ...DEFAULT_DELAYS, tryMs: this.connectMs / 2, ...options.delays }
    this.#client = this.runtime.randomBytes(16)
    for (const type of WAKING) page.addEventListener?.(type, this.#probe)
  }

  /** Why there is no connection, as the streams report it. */
  get error(): MillraceError {
    const message = this.#notice ?? `${this.#options.url} cannot be reached`
    return this.#over ?? new MillraceError('connection_lost', message, { cause: this.#cause })
  }

  /** Resolves when the connection is open. Rejects when this try fails; the connection goes on trying. */
  connect(): Promise<void> {
    if (this.status === 'open') return Promise.resolve()
    this.#opening ??= deferred()
    const { promise } = this.#opening
    if (this.status === 'closed') this.#settleOpening(this.error)
    if (this.status === 'idle') void this.#connect()
    return promise
  }

  /** Opens `stream` with the next message, and keeps it open over losses until it is removed. */
  add(stream: Stream): void {
    if (this.status === 'closed') return stream.giveUp()
    this.#streams.add(stream)
    this.#waiting.add(stream)
    this.#schedule()
    if (this.status === 'idle') void this.#connect()
  }

  remove(stream: Stream): void {
    this.#streams.delete(stream)
    this.#waiting.delete(stream)
    this.#bySid.delete(stream.sid)
  }

  /** Sends with the other frames of this turn. The frame was checked. */
  send(frame: UpFrame): void {
    this.#outbox?.push(encodeUp([frame]))
    this.#schedule()
  }

  /**
   * A copy of `frame` that its maker's later changes do not reach.
   * @throws MillraceError `bad_request` for data that cannot travel, and for a number among `counts` that counts nothing.
   */
  prepare<Frame extends UpFrame>(frame: Frame, counts: object = {}): Frame {
    const { maxMessage } = this.limits
    for (const [name, count] of Object.entries(counts)) {
      if (typeof count === 'number' && !(Number.isSafeInteger(count) && count >= 0))
        throw new MillraceError('bad_request', `${name} must be an integer of at least 0, not ${count}`)
    }
    const { length } = encodeUp([frame])
    if (length > maxMessage)
      throw new MillraceError('bad_request', `${length} bytes are too many: a message holds at most ${maxMessage}`)
    return structuredClone(frame)
  }

  /** A random time to wait before try `n`, the first being 0. */
  delay(n: number): number {
    const { backoffMs, maxBackoffMs } = this.limits
    return this.runtime.random() * Math.min(maxBackoffMs, backoffMs * 2 ** n)
  }

  /** Leaves the socket, whose items do not follow each other, for a new one. */
  resume(): void {
    this.#lose(true, CLOSE.sequenceFault)
  }

  /** Ends the connection for good. */
  close(): void {
    this.#stop(new MillraceError('connection_lost', 'the client is closed'))
  }

  async #connect(): Promise<void> {
    const { url, WebSocket, auth, hello } = this.#options
    const attempt = ++this.#attempt
    const isCurrent = (): boolean => attempt === this.#attempt && this.status === 'connecting'
    this.#after(this.limits.tryMs, () => this.#lose(true))
    this.#become('connecting')
    try {
      const credentials: unknown = typeof auth === 'function' ? await auth() : auth
      if (!isCurrent()) return
      const greeting = encodeUp([{ kind: 'hello', ...hello, auth: credentials, client: this.#client, attempt }])
      const socket = new WebSocket(url, SUBPROTOCOL)
      // A socket that was left may still speak, or be closed, late.
      const handler =
        <Event>(handle: (event: Event) => void) =>
        (event: Event): void => {
          if (socket === this.#socket) handle(event)
        }
      this.#socket = socket
      socket.binaryType = 'arraybuffer'
      socket.onopen = handler(() => this.#begin(greeting))
      socket.onmessage = handler(({ data }: { data: unknown }) => this.#receive(data))
      socket.onclose = handler(({ code }: { code: number }) => this.#closed(code))
      socket.onerror = handler(({ error }: { error?: unknown }) => {
        this.#cause = error
      })
    } catch (cause) {
      if (!isCurrent()) return
      this.#cause = cause
      this.#lose(false)
    }
  }

  #begin(greeting: Uint8Array): void {
    this.#outbox = [greeting]
    this.#bySid.clear()
    this.#lastSid = this.#sentBytes = 0
    this.#flush()
  }

  #schedule(): void {
    if (this.#flushing) return
    this.#flushing = true
    queueMicrotask(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  /** Sends what waits in as few messages as fit. Before WELCOME the server takes a limited number of bytes. */
  #flush(): void {
    const outbox = this.#outbox
    if (!outbox) return
    for (const stream of this.#waiting) {
      this.#bySid.delete(stream.sid)
      this.#bySid.set(++this.#lastSid, stream)
      stream.open(this.#lastSid)
    }
    this.#waiting.clear()
    const { maxMessage, beforeWelcomeBytes } = this.limits
    while (outbox.length > 0) {
      const isOpen = this.#welcomedAt !== undefined
      const room = isOpen ? maxMessage : beforeWelcomeBytes - this.#sentBytes
      let size = outbox[0]!.length
      let n = 1
      if (!isOpen && size > room) return
      while (n < outbox.length && size + outbox[n]!.length <= room) size += outbox[n++]!.length
      this.#sentBytes += size
      this.#socket?.send(joined(outbox.splice(0, n), size))
    }
  }

  #receive(data: unknown): void {
    const { maxDepth, maxValues, maxDown } = this.limits
    const socket = this.#socket
    this.#heardAt = this.runtime.now()
    let frames: DownFrame[]
    try {
      frames = decodeDown(new Uint8Array(data as ArrayBuffer), { maxDepth, maxValues, maxBytes: maxDown })
    } catch (cause) {
      this.#cause = cause
      // Once may be the network; twice is a fault of one of us.
      if (this.#malformed) return this.#stop(new MillraceError('internal', 'the server broke the protocol', { cause }))
      this.#malformed = true
      return this.#lose(true, CLOSE.malformed)
    }
    let ping: number | undefined
    for (const frame of frames) {
      switch (frame.kind) {
        case 'welcome':
          this.#welcomed(frame.limits)
          break
        case 'ping':
          ping = frame.nonce
          break
        case 'pong':
          break
        case 'goaway':
          this.#retryAfterMs = frame.retryAfterMs ?? 0
          break
        case 'notice':
          if (frame.ref?.sid) this.#bySid.get(frame.ref.sid)?.notice(frame)
          else this.#notice = frame.message
          break
        default:
          this.#bySid.get(frame.sid)?.receive(frame)
      }
      if (socket !== this.#socket) return
    }
    if (ping !== undefined) this.send({ kind: 'pong', nonce: ping })
  }

  #welcomed(limits: Partial<Limits>): void {
    this.limits = { ...this.limits, ...limits, ...this.#options.delays }
    this.#welcomedAt = this.#heardAt
    this.#everOpen = true
    this.#lastChance = false
    this.#cause = this.#notice = undefined
    this.#listen()
    this.#schedule()
    this.#settleOpening()
    this.#become('open')
  }

  /** Waits for the server to say something, asks for a sign of life, and leaves the socket when none comes. */
  #listen(): void {
    const { heartbeatMs, pongMs } = this.limits
    const now = this.runtime.now()
    const silentMs = now - this.#heardAt
    if (silentMs >= heartbeatMs + pongMs) return this.#lose(true)
    const asks = silentMs >= heartbeatMs
    if (asks) this.send({ kind: 'ping', nonce: Math.floor(now) })
    const waitMs = heartbeatMs + (asks ? pongMs : 0) - silentMs
    this.#after(waitMs, () => {
      if (this.runtime.now() - now > waitMs + LATE_MS) this.#probe()
      else this.#listen()
    })
  }

  /** Asks for a sign of life now. */
  readonly #probe = (): void => {
    if (this.status !== 'open') return
    this.#heardAt = this.runtime.now() - this.limits.heartbeatMs
    this.#listen()
  }

  #closed(code: number): void {
    const action = closeAction(code)
    const mayHelp =
      code === CLOSE.takenOver
        ? this.#welcomedAt === undefined
        : action === 'resume_once' || (action === 'reauthenticate' && typeof this.#options.auth === 'function')
    if (action === 'resume') return this.#lose(code === 1005 || code === 1006)
    if (mayHelp && !this.#lastChance) {
      this.#lastChance = true
      return this.#lose(true)
    }
    const message = this.#notice ?? `the server closed the connection with ${code}`
    this.#stop(new MillraceError(STOP_ERRORS[code] ?? 'internal', message, { cause: this.#cause }))
  }

  /** The socket is of no use any more. `quick`: a single loss, and not of many clients at once, may be tried again soon. */
  #lose(quick: boolean, code?: number): void {
    const { heartbeatMs, quickMs } = this.limits
    const now = this.runtime.now()
    if (this.#welcomedAt !== undefined && now - this.#welcomedAt >= heartbeatMs) this.#losses = 0
    const n = this.#losses++
    this.#leave(code)
    this.#become('lost')
    this.#settleOpening(this.error)
    for (const stream of this.#streams) {
      this.#waiting.add(stream)
      stream.lost()
    }
    if (this.#everOpen || this.#losses < MAX_FIRST_TRIES) {
      const delay = quick && n === 0 ? this.runtime.random() * quickMs : this.delay(n)
      this.#after(this.#retryAfterMs + delay, () => void this.#connect())
      this.#retryAfterMs = 0
      return
    }
    this.#losses = 0
    for (const stream of this.#streams) stream.giveUp()
    this.#become('idle')
  }

  #stop(error: MillraceError): void {
    if (this.#over) return
    this.#over = error
    this.#leave(CLOSE.done)
    for (const type of WAKING) page.removeEventListener?.(type, this.#probe)
    this.#become('closed')
    this.#settleOpening(error)
    for (const stream of this.#streams) {
      stream.lost()
      stream.giveUp()
    }
  }

  /** Leaves the socket: nothing that it still says is heard. */
  #leave(code?: number): void {
    const socket = this.#socket
    this.#socket = this.#outbox = this.#welcomedAt = undefined
    this.#timer?.clear()
    socket?.close(code)
  }

  #settleOpening(error?: MillraceError): void {
    if (error) this.#opening?.reject(error)
    else this.#opening?.resolve()
    this.#opening = undefined
  }

  #become(status: Status): void {
    if (status === this.status) return
    this.status = status
    this.#options.onStatus?.(status)
  }

  #after(ms: number, callback: () => void): void {
    this.#timer?.clear()
    this.#timer = this.runtime.setTimer(ms, callback)
  }
}

function joined(parts: Uint8Array[], size: number): Uint8Array {
  if (parts.length === 1) return parts[0]!
  const message = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    message.set(part, at)
    at += part.length
  }
  return message
}

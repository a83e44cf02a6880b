import { decodeDown } from '../protocol/decode.ts'
import { joinFrames, packUp } from '../protocol/encode.ts'
import type { MillraceError } from '../protocol/errors.ts'
import {
  type Delta,
  type DownFrame,
  type End,
  type EventFrame,
  type Gap,
  type Goaway,
  type Hello,
  type Input,
  type InputAck,
  type Listed,
  type Notice,
  type Opened,
  type Ping,
  SUBPROTOCOL,
  type UpFrame,
  type Welcome,
} from '../protocol/frames.ts'
import type { ClientRuntime, Timer } from '../protocol/runtime.ts'
import type { WireLimits } from '../protocol/wire-limits.ts'
import { LATE_MS, MAX_DEPTH } from './own-limits.ts'
import { check, type Prepared } from './prepare.ts'
import { report } from './report.ts'

/**
 * The part of a WebSocket that a client uses. Its handlers are typed loosely: a browser's class fits, and that of `ws`.
 */
export interface WebSocketLike {
  /** Set to `arraybuffer`. */
  binaryType: string
  /** Called when the socket is open. */
  onopen: unknown
  /** Called with each message. */
  onmessage: unknown
  /** Called with the close code and the reason. */
  onclose: unknown
  /** Called when the connection failed. */
  onerror: unknown
  /** Sends one binary message. */
  send(data: Uint8Array): void
  /** Closes the socket. */
  close(code?: number): void
  /** Ends the socket at once, also while it connects. The class of `ws` has it, and those of browsers do not. */
  terminate?(): void
}

/** A class of WebSockets: that of a browser, or of `ws`. */
export type WebSocketClass = new (url: string, protocol: string) => WebSocketLike

/**
 * A stream as its socket and its connection use it. The functions named like a frame take that frame. A stream ignores
 * frames that it has no function for.
 */
export interface ConnectedStream {
  /** Its number on the present socket. 0: it waits for one, or is removed. Negative: it does not want one yet. */
  sid: number
  /** It is opened only behind WELCOME, because the server may not know its frame. */
  readonly isFeature?: boolean
  /** The next message opens this stream as number `sid`. */
  open(sid: number): void
  /** As many streams are open as the server allows. This one is the `n`th of those that wait. */
  crowded?(n: number): void
  /** The socket is lost. */
  lost(): void
  /** Ends this stream, if it is lost. `reason` defaults to the connection's error. */
  giveUp(reason?: MillraceError): void
  /** A frame of this stream exceeds the limits of the server and is not sent. */
  refused?(frame: UpFrame, reason: MillraceError): void
  opened?(frame: Opened): void
  delta?(frame: Delta): void
  event?(frame: EventFrame): void
  gap?(frame: Gap): void
  input_ack?(frame: InputAck): void
  notice?(frame: Notice): void
  end(frame: End): void
  listed?(frame: Listed): void
}

/** The connection as its socket uses it. The functions named like a frame take those frames that are of no stream. */
export interface SocketOwner {
  readonly runtime: ClientRuntime
  readonly limits: WireLimits
  /** The streams to carry, in order. Those whose `sid` is 0 open when the limits of the server allow it. */
  readonly streams: ReadonlySet<ConnectedStream>
  /** `open` from WELCOME on. */
  status(): string
  welcome(frame: Welcome): void
  goaway(frame: Goaway): void
  notice(frame: Notice): void
  /** The server sent a malformed message. Nothing of it was applied. */
  malformed(fault: unknown): void
  /**
   * The server closed the socket, or (code 1006) does not answer. `reason`: what the server gave as one. `cause`: the
   * error of the WebSocket, if it gave one.
   */
  closed(code: number, reason: string, cause: unknown): void
}

/**
 * One socket, from HELLO until it is closed: it batches frames, opens streams in order as the server's limits allow it,
 * gives each stream its own frames, and notices silence.
 */
export interface Socket {
  /**
   * Sends `frame` at the end of this loop turn, in one message with others. Opens the streams that wait.
   */
  send(frame?: UpFrame): void
  /** Opens no stream within `waitMs`, and then one every `paceMs` until none waits. */
  hold(waitMs: number, paceMs: number): void
  /** Sends a PING now, and waits `pongMs` for an answer: once per silence, so that it cannot be put off. */
  probe(): void
  /**
   * Closes the socket. It calls its owner no more. With a `code`, a socket that still connects is closed when it is
   * open: a browser reports an earlier close as an error on the console.
   */
  close(code?: number): void
}

/** The global object of a page. In Node it has no events. */
export const page = globalThis as {
  WebSocket?: WebSocketClass
  addEventListener?(type: string, listener: () => void): void
  removeEventListener?(type: string, listener: () => void): void
}

/** A frame and its bytes. */
type Waiting = { readonly frame: UpFrame; readonly bytes: number[] }

/**
 * @param isEager Whether streams are opened before WELCOME. Otherwise HELLO goes alone, and nothing is sent that the
 * server's limits do not allow.
 * @throws MillraceError `bad_request` for credentials that cannot travel, and any error of the WebSocket class.
 */
export function createSocket(
  owner: SocketOwner,
  WebSocket: WebSocketClass,
  url: string,
  hello: Hello,
  isEager: boolean,
): Socket {
  const { runtime } = owner
  /** Packed frames that wait for the end of this loop turn, or for WELCOME. */
  let waiting: Waiting[] = [{ frame: hello, bytes: packUp(hello) }]
  const socket = new WebSocket(url, SUBPROTOCOL)
  /** Undefined while it connects. */
  let state: 'open' | 'closed' | undefined
  let scanLimits = { ...owner.limits, maxBytes: owner.limits.maxDown }
  let lastSid = 0
  /** The streams by their number, which every frame needs. One that has ended or was left goes when others may open. */
  const opened = new Map<number, ConnectedStream>()
  /** Bytes of the one message that is sent before WELCOME. If it is too much, the close comes before WELCOME too. */
  let earlyBytes = isEager ? owner.limits.beforeWelcomeBytes : waiting[0]!.bytes.length
  let isFlushing = false
  /** Streams may wait to be opened. */
  let mayOpen = true
  let heardAt = 0
  let isProbed = false
  let timer: Timer | undefined
  /** While it is set, no stream opens. */
  let holding: Timer | undefined
  let paceMs = 0
  let cause: unknown

  /**
   * The limits are known only since WELCOME, and may be others than before a loss. CREDIT, which reading causes, has
   * nothing of the application in it.
   */
  const fits = ({ frame, bytes }: Waiting): boolean => {
    if (frame.kind === 'credit' || (frame as Prepared).limits === owner.limits) return true
    try {
      check(bytes, owner.limits)
      return true
    } catch (error) {
      streamOf((frame as Input).sid)?.refused?.(frame, error as MillraceError)
      return false
    }
  }

  /** Sends all that waits, in as few messages as fit. Before WELCOME the server takes a limited number of bytes. */
  const flush = (): void => {
    isFlushing = false
    if (state !== 'open') return
    const isWelcomed = owner.status() === 'open'
    if (mayOpen) {
      mayOpen = false
      for (const [sid, stream] of opened) if (stream.sid !== sid) opened.delete(sid)
      let room = owner.limits.maxStreams - opened.size
      for (const stream of owner.streams) {
        if (stream.sid !== 0 || (stream.isFeature && !isWelcomed)) continue
        if (--room < 0) {
          if (isWelcomed) stream.crowded?.(-room)
        } else if (!holding) {
          opened.set(++lastSid, stream)
          stream.open(lastSid)
          if (paceMs) hold(paceMs, 0)
        }
      }
      if (!holding) paceMs = 0
    }
    if (isWelcomed) waiting = waiting.filter(fits)
    while (waiting.length > 0) {
      let room = isWelcomed ? owner.limits.maxMessage : earlyBytes
      let n = 0
      while (n < waiting.length && (room -= waiting[n]!.bytes.length) >= 0) n++
      if (!n && !isWelcomed) return
      const message = joinFrames(waiting.splice(0, n || 1).map(({ bytes }) => bytes))
      earlyBytes = 0
      socket.send(message)
    }
  }

  const send = (frame?: UpFrame): void => {
    if (frame) waiting.push({ frame, bytes: packUp(frame, MAX_DEPTH) })
    else mayOpen = true
    if (!isFlushing) queueMicrotask(flush)
    isFlushing = true
  }

  const hold = (waitMs: number, pace: number): void => {
    paceMs = Math.max(paceMs, pace)
    holding?.clear()
    holding = runtime.setTimer(waitMs, () => {
      holding = undefined
      send()
    })
  }

  /** The stream that this socket has as number `sid`, as long as it wants it. */
  const streamOf = (sid: number): ConnectedStream | undefined => {
    const stream = opened.get(sid)
    return stream?.sid === sid ? stream : undefined
  }

  const apply = (frame: Exclude<DownFrame, Ping>): void => {
    switch (frame.kind) {
      case 'welcome':
        owner.welcome(frame)
        scanLimits = { ...owner.limits, maxBytes: owner.limits.maxDown }
        listen()
        send()
        break
      case 'pong':
        break
      case 'goaway':
        owner.goaway(frame)
        break
      case 'notice':
        ;(frame.ref?.sid ? streamOf(frame.ref.sid) : owner)?.notice?.(frame)
        break
      default:
        streamOf(frame.sid)?.[frame.kind]?.(frame as never)
    }
  }

  const receive = ({ data }: { data: unknown }): void => {
    heardAt = runtime.now()
    isProbed = false
    let frames: DownFrame[]
    try {
      // A text message is malformed. Without this check, its digits would be taken for a length.
      const bytes = ArrayBuffer.isView(data)
        ? data
        : new Uint8Array(typeof data === 'string' ? [] : (data as ArrayBuffer))
      frames = decodeDown(bytes as Uint8Array, scanLimits)
    } catch (fault) {
      return owner.malformed(fault)
    }
    let ping: number | undefined
    for (const frame of frames) {
      try {
        if (frame.kind === 'ping') ping = frame.nonce
        else apply(frame)
      } catch (error) {
        // The application's runtime has thrown. An item that is lost by this is missed by the next, and sent again.
        report(error)
      }
      if (state === 'closed') return
    }
    if (ping !== undefined) send({ kind: 'pong', nonce: ping })
  }

  /** Heartbeat: after `heartbeatMs` of silence it sends a PING, after `pongMs` more it reports the socket as closed. */
  const listen = (): void => {
    if (owner.status() !== 'open') return
    const now = runtime.now()
    let waitMs = heardAt + owner.limits.heartbeatMs - now
    if (waitMs <= 0) {
      waitMs += owner.limits.pongMs
      if (waitMs <= 0) return owner.closed(1006, '', cause)
      send({ kind: 'ping', nonce: Math.floor(now) })
    }
    timer?.clear()
    timer = runtime.setTimer(waitMs, () => {
      // The messages that arrived while the machine slept have not been read yet.
      if (runtime.now() - now > waitMs + LATE_MS) probe()
      else listen()
    })
  }

  const probe = (): void => {
    if (!isProbed) heardAt = runtime.now() - owner.limits.heartbeatMs
    isProbed = true
    listen()
  }

  /** A closed socket may still receive a message, or report its close late. */
  const unlessClosed =
    <Event>(handle: (event: Event) => void) =>
    (event: Event): void => {
      if (state !== 'closed') handle(event)
    }

  socket.binaryType = 'arraybuffer'
  socket.onopen = unlessClosed(() => {
    state = 'open'
    flush()
  })
  socket.onmessage = unlessClosed(receive)
  socket.onclose = unlessClosed(({ code, reason }: { code: number; reason: string }) =>
    owner.closed(code, reason, cause),
  )
  socket.onerror = ({ error }: { error?: unknown }): void => {
    cause = error
  }

  return {
    send,
    probe,
    hold,
    close(code) {
      const isConnecting = !state
      state = 'closed'
      timer?.clear()
      holding?.clear()
      if (!isConnecting || !code) socket.close(code)
      else if (socket.terminate) socket.terminate()
      else socket.onopen = () => socket.close(code)
    },
  }
}

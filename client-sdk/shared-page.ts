import * as CLOSE from '../protocol/close-code.ts'
import { decodeUp } from '../protocol/decode.ts'
import { encodeDown } from '../protocol/encode.ts'
import { type ErrorCode, type MillraceError, ProtocolFault } from '../protocol/errors.ts'
import type {
  Attach,
  Delta,
  DownFrame,
  End,
  EventFrame,
  Gap,
  Hello,
  InputAck,
  List,
  Listed,
  Notice,
  Opened,
  Start,
  UpFrame,
} from '../protocol/frames.ts'
import type { WireLimits } from '../protocol/wire-limits.ts'
import { OPEN, type Port } from './shared-messages.ts'
import type { ConnectedStream } from './socket.ts'

/** The most frames of a page that may wait for their streams to open. A client has far fewer. */
const MAX_WAITING = 1_000

/** A frame that opens a stream. */
type Opening = Start | Attach | List
/** A frame about a stream that is open. */
type StreamFrame = Exclude<UpFrame, { kind: 'hello' | 'ping' | 'pong' }>

/** The connection that a page shares with others. */
export interface PageLink {
  /** What the server takes. */
  readonly limits: WireLimits
  /** The streams of all pages. */
  readonly streams: Set<ConnectedStream>
  enter(page: SharedPage): void
  leave(page: SharedPage): void
  /**
   * A page has said HELLO.
   * @param isEager Whether it dares to open streams before WELCOME.
   */
  greet(page: SharedPage, hello: Hello, isEager: boolean): void
  /** Sends a frame of a stream that is open; without one, opens the streams that wait. */
  send(frame?: UpFrame): void
  /** A page doubts its connection. */
  probe(): void
}

/**
 * The socket of one page, as the shared worker has it. It holds the page to the protocol, so that a page that breaks it
 * loses its own socket and not the one that all share, and it gives each stream the number that the page knows.
 */
export class SharedPage {
  readonly #link: PageLink
  readonly #port: Port
  readonly #left: () => void
  /** By the page's numbers. */
  readonly #streams = new Map<number, PageStream>()
  #lastSid = 0
  #isGreeted = false
  #isClosed = false
  /** What goes out at the end of this loop turn. */
  #out: DownFrame[] = []
  /** How many frames wait for their streams to open. */
  waiting = 0

  /** @param left Called when the page has left. */
  constructor(link: PageLink, port: Port, left: () => void) {
    this.#link = link
    this.#port = port
    this.#left = left
    link.enter(this)
    port.onmessage = ({ data }: { data: unknown }) => this.#receive(data)
    port.postMessage(OPEN)
  }

  /** A frame for the page. Those of one message of the server go on in one message. */
  take(frame: DownFrame): void {
    if (this.#out.push(frame) > 1) return
    queueMicrotask(() => this.#flush())
  }

  /** Closes the page's socket. */
  close(code: number, reason: string): void {
    if (this.#isClosed) return
    this.#flush()
    this.#port.postMessage({ code, reason })
    this.leave()
  }

  /** The page is gone, or has closed its socket. Its runs are detached, as those of a connection that is closed. */
  leave(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const stream of this.#streams.values()) {
      if (stream.sid > 0) this.#link.send({ kind: 'detach', sid: stream.sid })
      this.ended(stream)
    }
    this.#link.leave(this)
    this.#left()
    this.#port.close()
  }

  /** A stream has ended. */
  ended(stream: PageStream): void {
    this.#streams.delete(stream.pageSid)
    this.#link.streams.delete(stream)
    stream.drop()
    this.#link.send()
  }

  /** A frame of this page goes to the server, under the number of its stream there. */
  send(frame: StreamFrame, sid: number): void {
    this.#link.send({ ...frame, sid })
  }

  #flush(): void {
    const frames = this.#out
    this.#out = []
    if (frames.length > 0 && !this.#isClosed) this.#port.postMessage(encodeDown(frames))
  }

  #receive(data: unknown): void {
    if (this.#isClosed) return
    if (data === undefined || typeof data === 'number') return this.leave()
    try {
      if (!(data instanceof Uint8Array)) throw new ProtocolFault('a message that is not binary')
      const { maxMessage: maxBytes, maxDepth, maxValues } = this.#link.limits
      const frames = decodeUp(data, { maxBytes, maxDepth, maxValues })
      this.#checkOrder(frames)
      for (const frame of frames) this.#apply(frame, frames.length > 1)
    } catch (error) {
      const { closeCode = CLOSE.malformed, message } = error as Error & { closeCode?: number }
      this.close(closeCode, message.slice(0, 100))
    }
  }

  /** HELLO comes first and once, and numbers rise. Nothing of a message that breaks this is applied. */
  #checkOrder(frames: readonly UpFrame[]): void {
    let isGreeted = this.#isGreeted
    let lastSid = this.#lastSid
    for (const frame of frames) {
      if ((frame.kind === 'hello') === isGreeted) throw new ProtocolFault('HELLO must come first, and once')
      isGreeted = true
      if (!isOpening(frame)) continue
      if (frame.sid <= lastSid) throw new ProtocolFault(`stream id ${frame.sid} does not rise`)
      lastSid = frame.sid
    }
    this.#isGreeted = isGreeted
    this.#lastSid = lastSid
  }

  #apply(frame: UpFrame, isEager: boolean): void {
    switch (frame.kind) {
      case 'hello':
        return this.#link.greet(this, frame, isEager)
      case 'ping':
        this.#link.probe()
        return this.take({ kind: 'pong', nonce: frame.nonce })
      case 'pong':
        return
      case 'start':
      case 'attach':
      case 'list': {
        const stream = new PageStream(this, frame)
        this.#streams.set(frame.sid, stream)
        this.#link.streams.add(stream)
        return this.#link.send()
      }
      default:
        this.#streams.get(frame.sid)?.send(frame)
    }
  }
}

/** One stream of a page, on the connection that all share. */
export class PageStream implements ConnectedStream {
  /** Its number there. */
  sid = 0
  readonly isFeature: boolean
  /** Its number for the page. */
  readonly pageSid: number
  readonly #page: SharedPage
  /** Frames of the page that wait until it is open. */
  #held: StreamFrame[] = []

  constructor(page: SharedPage, frame: Opening) {
    this.#page = page
    this.pageSid = frame.sid
    this.isFeature = frame.kind === 'list'
    this.send(frame)
  }

  /** A frame of the page. */
  send(frame: StreamFrame): void {
    if (this.sid > 0) return this.#pass(frame)
    this.#held.push(frame)
    if (++this.#page.waiting > MAX_WAITING) throw new ProtocolFault('too many frames wait', CLOSE.tooMany)
  }

  open(sid: number): void {
    this.sid = sid
    const held = this.#held
    this.#held = []
    this.#page.waiting -= held.length
    for (const frame of held) if (this.sid > 0) this.#pass(frame)
  }

  #pass(frame: StreamFrame): void {
    this.#page.send(frame, this.sid)
    // Nothing answers it: the stream is over.
    if (frame.kind === 'detach') this.#page.ended(this)
  }

  /** What the server sends for this number is of nobody any more. */
  drop(): void {
    this.sid = 0
    this.#page.waiting -= this.#held.length
    this.#held = []
  }

  crowded(): void {
    this.#refuse(
      'too_many_streams',
      'as many streams are open on the shared connection as allowed; end one first',
      true,
    )
  }

  refused(frame: UpFrame, { message }: MillraceError): void {
    if (isOpening(frame)) this.#refuse('bad_request', message, false)
    else this.#page.close(CLOSE.tooLarge, message.slice(0, 100))
  }

  /** Answers what opens the stream, as the server would. */
  #refuse(code: ErrorCode, message: string, retryable: boolean): void {
    this.end({ kind: 'end', sid: 0, seq: 0, outcome: 'error', data: { code, message, retryable } })
  }

  notice(frame: Notice): void {
    this.#page.take({ ...frame, ref: { ...frame.ref!, sid: this.pageSid } })
  }

  end(frame: End): void {
    this.#take(frame)
    this.#page.ended(this)
  }

  opened(frame: Opened): void {
    this.#take(frame)
  }

  delta(frame: Delta): void {
    this.#take(frame)
  }

  event(frame: EventFrame): void {
    this.#take(frame)
  }

  gap(frame: Gap): void {
    this.#take(frame)
  }

  input_ack(frame: InputAck): void {
    this.#take(frame)
  }

  listed(frame: Listed): void {
    this.#take(frame)
  }

  // Its page gets the close of the connection, and opens its streams again on the next one.
  lost(): void {}
  giveUp(): void {}

  #take(frame: Extract<DownFrame, { sid: number }>): void {
    this.#page.take({ ...frame, sid: this.pageSid })
  }
}

function isOpening(frame: UpFrame): frame is Opening {
  return frame.kind === 'start' || frame.kind === 'attach' || frame.kind === 'list'
}

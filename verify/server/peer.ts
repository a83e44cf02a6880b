import { randomBytes } from 'node:crypto'
import { type ClientOptions, WebSocket } from 'ws'
import { decodeDown } from '../../protocol/decode.ts'
import { encodeUp } from '../../protocol/encode.ts'
import { ProtocolFault } from '../../protocol/errors.ts'
import {
  type Attach,
  type DownFrame,
  type End,
  type Hello,
  type Opened,
  type StartOptions,
  SUBPROTOCOL,
  type UpFrame,
} from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { Arrivals, pause } from '../arrivals.ts'
import { frameWords, lastFrames } from '../frame-words.ts'
import { Mismatch, must, NotJudged, shortened } from '../mismatch.ts'
import { REFERENCE_LIMITS } from '../reference.ts'

/** How long nothing may come until nothing more is expected, in milliseconds. */
const QUIET_MS = 150
/** The code of a socket that was cut, which no side sends. */
const CUT = 1006

type Kind = DownFrame['kind']
type FrameOf<K extends Kind> = Extract<DownFrame, { kind: K }>

/** One item of a stream, however it was batched. */
export type Item = { seq: number; count: number; lane?: number; text?: string; type?: number | string; data?: unknown }

export type PeerOptions = {
  /** HELLO's `auth`. Default: the token. */
  auth?: unknown
  /** Default: a new instance. */
  client?: Uint8Array
  /** Default 1. */
  attempt?: number
  /** Whether HELLO is sent, and WELCOME waited for. Default true; `unanswered` does not wait. */
  hello?: boolean | 'unanswered'
  /** Frames in HELLO's own message. */
  with?: readonly UpFrame[]
  /** Whether PINGs are answered. Default true. */
  pong?: boolean
  /** Headers of the request. Default: none. */
  headers?: Record<string, string>
  /** Default: the one of the protocol. */
  subprotocols?: string[]
}

/** Where a peer connects, and how long it waits. */
export type PeerPlace = {
  readonly url: string
  readonly token: string | undefined
  readonly patienceMs: number
  readonly signal: AbortSignal
}

/** One socket that sends frames as a check says, and does nothing by itself but answer PINGs. */
export class Peer implements AsyncDisposable {
  /** All that came, in order. */
  readonly frames: DownFrame[] = []
  readonly client: Uint8Array
  /** The subprotocol that the server took. */
  subprotocol = ''
  closeCode: number | undefined
  readonly #place: PeerPlace
  readonly #socket: WebSocket
  readonly #arrivals: Arrivals
  readonly #given = new Set<DownFrame>()
  #nonce = 0

  private constructor(place: PeerPlace, options: PeerOptions) {
    this.#place = place
    const { patienceMs, signal } = place
    this.client = options.client ?? new Uint8Array(randomBytes(16))
    this.#arrivals = new Arrivals({ patienceMs, signal, describe: () => lastFrames(this.frames) })
    const settings: ClientOptions = {
      perMessageDeflate: false,
      handshakeTimeout: patienceMs,
      maxPayload: DEFAULT_LIMITS.maxDown * 2,
      headers: options.headers ?? {},
    }
    this.#socket = new WebSocket(place.url, options.subprotocols ?? [SUBPROTOCOL], settings)
    this.#socket.on('error', () => {})
    this.#socket.on('message', (bytes: Buffer, isBinary) => this.#take(bytes, isBinary, options.pong !== false))
    this.#socket.on('close', (code) => {
      this.closeCode = code
      this.#arrivals.end(closeWords(code))
    })
  }

  /**
   * Connects, and says HELLO unless it is told not to.
   * @throws Mismatch when there is no WebSocket, or no WELCOME.
   */
  static async connect(place: PeerPlace, options: PeerOptions = {}): Promise<Peer> {
    const peer = new Peer(place, options)
    try {
      await peer.#open()
      const { hello = true } = options
      if (hello === false) return peer
      peer.send(peer.#hello(options), ...(options.with ?? []))
      if (hello !== 'unanswered') await peer.next('welcome')
      return peer
    } catch (error) {
      await peer[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Sends one message. */
  send(...frames: UpFrame[]): void {
    this.sendRaw(encodeUp(frames, Number.POSITIVE_INFINITY))
  }

  /** Sends one message of these bytes, or a text message. */
  sendRaw(message: Uint8Array | string): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(message)
  }

  start(sid: number, actor: string, input: unknown = null, options: StartOptions = {}): void {
    this.send({ kind: 'start', sid, actor, input, options })
  }

  attach(sid: number, run: string, after: number | null, options: Attach['options'] = {}): void {
    this.send({ kind: 'attach', sid, run, after, options })
  }

  /** The first frame of that kind, and of that stream if one is named, that was not given before. */
  next<K extends Kind>(kind: K, sid?: number): Promise<FrameOf<K>> {
    const what = sid === undefined ? kind.toUpperCase() : `${kind.toUpperCase()} of stream ${sid}`
    return this.find(
      (frame): frame is FrameOf<K> => frame.kind === kind && (sid === undefined || ofStream(frame, sid)),
      what,
    )
  }

  /** The first frame that `accepts` takes and that was not given before. */
  find<Frame extends DownFrame>(accepts: (frame: DownFrame) => frame is Frame, what: string): Promise<Frame> {
    return this.#arrivals.find(() => {
      const found = this.frames.find((frame): frame is Frame => !this.#given.has(frame) && accepts(frame))
      if (found) this.#given.add(found)
      return found
    }, what)
  }

  /** Resolves when `holds`. */
  async until(holds: () => boolean, what: string, patienceMs?: number): Promise<void> {
    await this.#arrivals.find(() => holds() || undefined, what, patienceMs)
  }

  /** OPENED of a stream. An actor that is missing says so. */
  async opened(sid: number): Promise<Opened> {
    const frame = await this.find(
      (one): one is Opened | End => (one.kind === 'opened' || one.kind === 'end') && one.sid === sid,
      `OPENED of stream ${sid}`,
    )
    if (frame.kind === 'opened') return frame
    const isMissing = frame.data['code'] === 'not_found'
    const hint = isMissing ? ' (are the reference actors of docs/conformance.md registered?)' : ''
    throw new Mismatch(`OPENED of stream ${sid}`, `${frameWords(frame)}${hint}`)
  }

  /** The END that refuses a START or ATTACH. */
  async refusal(sid: number, code: string): Promise<End> {
    const end = await this.find(
      (one): one is Opened | End => (one.kind === 'opened' || one.kind === 'end') && one.sid === sid,
      `END of stream ${sid}`,
    )
    const expected = `END with seq 0, outcome 1 and code ${code}`
    must(end.kind === 'end' && end.seq === 0 && end.outcome === 'error', expected, frameWords(end))
    must(end.data['code'] === code, expected, frameWords(end))
    return end
  }

  /** The items of a stream. Texts that were merged are one. */
  items(sid: number): Item[] {
    return this.frames.filter((frame) => ofStream(frame, sid)).flatMap(itemsOf)
  }

  /** How many items came of a stream. */
  count(sid: number): number {
    return this.items(sid).reduce((sum, { count }) => sum + count, 0)
  }

  /** The text of a stream so far, of all its lanes. */
  text(sid: number): string {
    return this.items(sid)
      .map(({ text = '' }) => text)
      .join('')
  }

  /** Resolves when as many items of a stream have come. */
  async untilCount(sid: number, count: number): Promise<void> {
    await this.until(() => this.count(sid) >= count, `${count} items of stream ${sid} (${this.count(sid)} came)`)
  }

  /** The server has applied all that was sent. */
  async settled(): Promise<void> {
    const nonce = 1_000_000 + ++this.#nonce
    this.send({ kind: 'ping', nonce })
    await this.find(
      (frame): frame is FrameOf<'pong'> => frame.kind === 'pong' && frame.nonce === nonce,
      `PONG with the nonce ${nonce}`,
    )
  }

  /** The server has applied all that was sent, and nothing more comes. */
  async quiet(): Promise<void> {
    await this.settled()
    for (let before = -1; before !== this.frames.length; ) {
      before = this.frames.length
      await pause(QUIET_MS, this.#place.signal)
    }
  }

  /** The code with which the server closes. */
  async closed(patienceMs?: number): Promise<number> {
    return this.#arrivals.find(() => this.closeCode, 'a close of the connection', patienceMs)
  }

  /** The server closes with one of these codes. */
  async closesWith(codes: readonly number[], because: string, patienceMs?: number): Promise<void> {
    const code = await this.closed(patienceMs)
    must(codes.includes(code), `a close with ${codes.join(' or ')} ${because}`, closeWords(code))
  }

  /** Cuts the socket without a word. */
  async cut(): Promise<void> {
    this.#socket.terminate()
    await this.closed()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closeCode !== undefined) return
    const closed = new Promise((resolve) => this.#socket.once('close', resolve))
    this.#socket.terminate()
    await closed
  }

  async #open(): Promise<void> {
    let failure: Error | undefined
    let isOpen = false
    this.#socket.on('error', (error) => {
      failure ??= error
      this.#arrivals.look()
    })
    this.#socket.on('open', () => {
      isOpen = true
      this.subprotocol = this.#socket.protocol
      this.#arrivals.look()
    })
    // It may open and close at once.
    const search = (): true | Error | undefined => failure ?? (isOpen || undefined)
    const found = await this.#arrivals.find(search, 'the end of the WebSocket handshake', this.#place.patienceMs + 500)
    if (found instanceof Error) throw new Unreachable(found)
  }

  #hello({ auth = this.#place.token, attempt = 1 }: PeerOptions): Hello {
    return {
      kind: 'hello',
      client: this.client,
      attempt,
      flushMs: 0,
      name: 'verify',
      ...(auth !== undefined && { auth }),
    }
  }

  #take(message: Buffer, isBinary: boolean, answers: boolean): void {
    if (!isBinary) {
      this.#arrivals.end(new Mismatch('binary messages', `the text message ${shortened(message.toString(), 60)}`))
      return
    }
    const { maxDown, maxDepth, maxValues } = REFERENCE_LIMITS
    try {
      const frames = decodeDown(message, { maxBytes: maxDown, maxDepth, maxValues })
      const ping = frames.findLast((frame) => frame.kind === 'ping')
      if (ping && answers) this.send({ kind: 'pong', nonce: ping.nonce })
      this.frames.push(...frames)
      this.#arrivals.look()
    } catch (error) {
      if (!(error instanceof ProtocolFault)) throw error
      const bytes = shortened(message.toString('hex'), 80)
      this.#arrivals.end(new Mismatch('well-formed frames', `${error.message} in the message ${bytes}`))
    }
  }
}

/** There is no WebSocket at the address of the server. */
export class Unreachable extends Mismatch {
  override readonly name: string = 'Unreachable'
  override readonly cause: Error

  constructor(cause: Error) {
    const isGone = 'code' in cause && cause.code === 'ECONNREFUSED'
    super('a WebSocket handshake that succeeds', cause.message, isGone ? 'no server listens there any more' : undefined)
    this.cause = cause
  }
}

/** @throws NotJudged when `value` is missing. */
export function needed<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new NotJudged(what)
  return value
}

function ofStream(frame: DownFrame, sid: number): boolean {
  return 'sid' in frame && frame.sid === sid
}

function itemsOf(frame: DownFrame): Item[] {
  if (frame.kind === 'event') return [{ seq: frame.seq, count: 1, type: frame.type, data: frame.data }]
  if (frame.kind !== 'delta') return []
  const { seq, lane, body, count = 1 } = frame
  if (typeof body === 'string') return [{ seq, count, lane, text: body }]
  return body.map((text, i) => ({ seq: seq + i, count: 1, lane, text }))
}

function closeWords(code: number): string {
  return code === CUT ? 'the socket was cut' : `the server closed with ${code}`
}

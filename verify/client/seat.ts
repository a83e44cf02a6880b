import type { IncomingMessage } from 'node:http'
import type { WebSocket } from 'ws'
import { decodeUp } from '../../protocol/decode.ts'
import { encodeDown } from '../../protocol/encode.ts'
import { ProtocolFault } from '../../protocol/errors.ts'
import type { Attach, DownFrame, Hello, Start, UpFrame, Welcome } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { Arrivals, pause } from '../arrivals.ts'
import { lastFrames } from '../frame-words.ts'
import { Mismatch } from '../mismatch.ts'

/** How long nothing may come until nothing more is expected, in milliseconds. */
const QUIET_MS = 150
const { maxMessage, maxDepth, maxValues } = DEFAULT_LIMITS

type Kind = UpFrame['kind']
type FrameOf<K extends Kind> = Extract<UpFrame, { kind: K }>

/** The id of the one run of a scenario. */
export const RUN = 'r_verify'

/** The server's end of one connection of the client that is judged. It answers PINGs, and says what a check says. */
export class Seat {
  /** All that the client sent, in order. */
  readonly frames: UpFrame[] = []
  /** The request of the handshake. */
  readonly request: IncomingMessage
  closeCode: number | undefined
  readonly #socket: WebSocket
  readonly #signal: AbortSignal
  readonly #arrivals: Arrivals
  readonly #given = new Set<UpFrame>()

  constructor(socket: WebSocket, request: IncomingMessage, place: { patienceMs: number; signal: AbortSignal }) {
    this.#socket = socket
    this.#signal = place.signal
    this.request = request
    this.#arrivals = new Arrivals({ ...place, describe: () => lastFrames(this.frames) })
    socket.on('error', () => {})
    socket.on('message', (bytes: Buffer, isBinary) => this.#take(bytes, isBinary))
    socket.on('close', (code) => {
      this.closeCode = code
      this.#arrivals.end(code === 1006 ? 'the client cut the connection' : `the client closed with ${code}`)
    })
  }

  /** Sends one message. */
  send(...frames: DownFrame[]): void {
    this.sendRaw(encodeDown(frames))
  }

  /** Sends one message of these bytes, or a text message. */
  sendRaw(message: Uint8Array | string): void {
    this.#socket.send(message)
  }

  /** Waits for HELLO, and answers it. */
  async greet(welcome: Partial<Welcome> = {}): Promise<Hello> {
    const hello = await this.next('hello')
    this.send({ kind: 'welcome', session: 's_verify', known: false, limits: {}, now: Date.now(), ...welcome })
    return hello
  }

  /** Waits for START, and opens its run. */
  async open(credit?: number): Promise<Start> {
    const start = await this.next('start')
    this.send(openedFor(start, 1, credit))
    return start
  }

  /** Waits for ATTACH, and opens the run behind its position. */
  async reopen(gen = 1): Promise<Attach> {
    const attach = await this.next('attach')
    this.send(openedFor(attach, (attach.after ?? 0) + 1, undefined, gen))
    return attach
  }

  /** The first frame of that kind that was not given before. */
  next<K extends Kind>(kind: K): Promise<FrameOf<K>> {
    return this.#arrivals.find(() => {
      const found = this.frames.find((one): one is FrameOf<K> => one.kind === kind && !this.#given.has(one))
      if (found) this.#given.add(found)
      return found
    }, kind.toUpperCase())
  }

  all<K extends Kind>(kind: K): FrameOf<K>[] {
    return this.frames.filter((one): one is FrameOf<K> => one.kind === kind)
  }

  /** Resolves when `holds`. */
  async until(holds: () => boolean, what: string): Promise<void> {
    await this.#arrivals.find(() => holds() || undefined, what)
  }

  /** The sum of the credit that came back. */
  get credit(): number {
    return this.all('credit').reduce((sum, { n }) => sum + n, 0)
  }

  /** Nothing more comes. */
  async quiet(): Promise<void> {
    for (let before = -1; before !== this.frames.length; ) {
      before = this.frames.length
      await pause(QUIET_MS, this.#signal)
    }
  }

  /** The code with which the client closes. */
  async closed(): Promise<number> {
    return this.#arrivals.find(() => this.closeCode, 'a close by the client')
  }

  close(code: number): void {
    this.#socket.close(code)
  }

  /** Cuts the socket without a word. */
  cut(): void {
    this.#socket.terminate()
  }

  #take(message: Buffer, isBinary: boolean): void {
    if (!isBinary) {
      this.#arrivals.end(new Mismatch('binary messages', 'a text message'))
      return
    }
    try {
      const frames = decodeUp(message, { maxBytes: maxMessage, maxDepth, maxValues })
      const ping = frames.findLast((frame) => frame.kind === 'ping')
      if (ping) this.send({ kind: 'pong', nonce: ping.nonce })
      this.frames.push(...frames)
      this.#arrivals.look()
    } catch (error) {
      if (!(error instanceof ProtocolFault)) throw error
      this.#arrivals.end(
        new Mismatch('well-formed frames', `${error.message} in ${message.toString('hex').slice(0, 80)}`),
      )
    }
  }
}

/** OPENED with the credit that was asked for, or with less. */
function openedFor({ sid, options }: Start | Attach, next: number, credit = Infinity, gen = 1): DownFrame {
  return { kind: 'opened', sid, next, run: RUN, gen, credit: Math.min(credit, options.credit ?? 256) }
}

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { type ClientOptions, createClient } from '../../client-sdk/client.ts'
import type { ActorMap, ActorTypes, Client, WebSocketClass, WebSocketLike } from '../../client-sdk/index.ts'
import { decodeUp } from '../../protocol/decode.ts'
import { encodeDown } from '../../protocol/encode.ts'
import {
  type Attach,
  type DownFrame,
  type Start,
  SUBPROTOCOL,
  type UpFrame,
  type Welcome,
} from '../../protocol/frames.ts'
import { writeReceipt } from '../../protocol/receipt.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { Chance, microtasks, VirtualTime } from '../simulation/virtual-time.ts'
import { scanLimits } from './codec-paths.ts'

type Kind = UpFrame['kind']
type FrameOf<K extends Kind> = Extract<UpFrame, { kind: K }>

/** The one actor of a scripted server. */
type ScriptedActors = { chat: ActorTypes<{ prompt?: string }, undefined> } & ActorMap

/** The server's end of one connection: it records what the client sends, and sends what the test says. */
abstract class ServerEnd {
  /** The frames of each message of the client. */
  readonly messages: UpFrame[][] = []
  /** Bytes of each. */
  readonly sizes: number[] = []
  #taken = 0

  /** Sends one message. */
  say(...frames: DownFrame[]): void {
    this.sayBytes(encodeDown(frames))
  }

  abstract sayBytes(bytes: Uint8Array): void

  /** Answers HELLO. */
  welcome(limits: Welcome['limits'] = {}): void {
    this.say(welcome(limits))
  }

  /** @throws ProtocolFault when the client breaks the protocol. */
  protected record(message: Uint8Array, maxBytes: number): UpFrame[] {
    const frames = decodeUp(message, { ...scanLimits.up, maxBytes })
    this.sizes.push(message.length)
    this.messages.push(frames)
    return frames
  }

  /** All frames of one kind. */
  all<K extends Kind>(kind: K): FrameOf<K>[] {
    return this.messages.flat().filter((frame): frame is FrameOf<K> => frame.kind === kind)
  }

  /** The newest frame of one kind. */
  last<K extends Kind>(kind: K): FrameOf<K> {
    const frame = this.all(kind).at(-1)
    if (!frame)
      throw new Error(
        `no ${kind} among ${this.messages
          .flat()
          .map((each) => each.kind)
          .join(', ')}`,
      )
    return frame
  }

  /** Kinds of the frames since the last look, HELLO left out. */
  said(): Kind[] {
    const kinds = this.messages.flat().map((frame) => frame.kind)
    return kinds.splice(this.#taken, (this.#taken = kinds.length)).filter((kind) => kind !== 'hello')
  }
}

/** A connection in virtual time. The client holds it as its WebSocket, and the test does everything by hand. */
export class ScriptedSocket extends ServerEnd implements WebSocketLike {
  binaryType = 'blob'
  onopen: unknown
  onmessage: unknown
  onclose: unknown
  onerror: unknown
  /** The code with which the client closed, `null` when it gave none; undefined while it did not close. */
  closeCode: number | null | undefined

  send(data: Uint8Array): void {
    this.record(data, Number.POSITIVE_INFINITY)
  }

  close(code?: number): void {
    this.closeCode ??= code ?? null
  }

  /** The handshake is over. */
  open(): void {
    call(this.onopen, {})
  }

  /** The handshake is over, and HELLO is answered. */
  override welcome(limits: Welcome['limits'] = {}): void {
    this.open()
    super.welcome(limits)
  }

  sayBytes(bytes: Uint8Array): void {
    call(this.onmessage, { data: bytes.slice().buffer })
  }

  /** The socket is closed from the other side, or lost. */
  end(code = 1006, reason = ''): void {
    call(this.onclose, { code, reason })
  }

  /** The connection could not be made. */
  fail(error: Error): void {
    call(this.onerror, { error })
    this.end()
  }
}

/** How a listening server answers by itself: as badly as a test wants. */
export type Script = {
  /** Answers HELLO. Default: with a WELCOME. */
  greet?: (socket: ListeningSocket) => void
  /** The limits of that WELCOME. */
  limits?: Welcome['limits']
  /** Answers a START or ATTACH. */
  answer: (request: Start | Attach, socket: ListeningSocket) => void
}

/** A real connection, which a script answers. */
export class ListeningSocket extends ServerEnd {
  /** The code with which the client closed. */
  readonly closed: Promise<number>
  /** The errors of frames with which the client broke the protocol. */
  readonly faults: unknown[] = []
  readonly #socket: WebSocket

  constructor(socket: WebSocket, script: Script) {
    super()
    this.#socket = socket
    this.closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => {})
    socket.on('message', (message: Buffer) => {
      try {
        for (const frame of this.record(message, scanLimits.up.maxBytes)) {
          if (frame.kind === 'hello') (script.greet ?? (() => this.welcome(script.limits)))(this)
          else if (frame.kind === 'start' || frame.kind === 'attach') script.answer(frame, this)
        }
      } catch (error) {
        this.faults.push(error)
      }
    })
  }

  sayBytes(bytes: Uint8Array): void {
    this.#socket.send(bytes)
  }

  sayText(text: string): void {
    this.#socket.send(text)
  }

  close(code: number): void {
    this.#socket.close(code)
  }

  /** Cuts the connection. */
  terminate(): void {
    this.#socket.terminate()
  }
}

/** A scripted server on a port of its own. */
export interface ListeningServer extends AsyncDisposable {
  readonly url: string
  readonly sockets: readonly ListeningSocket[]
}

/**
 * A server that says what a test wants. In virtual time nothing is answered that the test does not say; `listen` starts
 * one over real sockets, which answers by a script.
 */
export class ScriptedServer {
  readonly time: VirtualTime
  readonly sockets: ScriptedSocket[] = []
  #sleptMs = 0

  constructor(seed = 1) {
    this.time = new VirtualTime(new Chance(seed))
  }

  /** Listens for real clients. Its disposal fails the test if a client has broken the protocol. */
  static async listen(script: Script): Promise<ListeningServer> {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => SUBPROTOCOL })
    await once(server, 'listening')
    const sockets: ListeningSocket[] = []
    server.on('connection', (socket) => sockets.push(new ListeningSocket(socket, script)))
    return {
      url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
      sockets,
      async [Symbol.asyncDispose]() {
        for (const socket of sockets) socket.terminate()
        const closed = once(server, 'close')
        server.close()
        await closed
        const [fault] = sockets.flatMap(({ faults }) => faults)
        if (fault !== undefined) throw new Error('the client said something malformed', { cause: fault })
      },
    }
  }

  /** The client's machine sleeps: its clock goes on, its timers do not. */
  sleep(ms: number): void {
    this.#sleptMs += ms
  }

  client(options: ClientOptions = {}): Client<ScriptedActors> {
    const { sockets } = this
    const WebSocket: WebSocketClass = class extends ScriptedSocket {
      constructor() {
        super()
        sockets.push(this)
      }
    }
    const { time } = this
    const runtime: Runtime = {
      now: () => time.now() + this.#sleptMs,
      wallClock: () => time.wallClock(),
      setTimer: (ms, callback) => time.setTimer(ms, callback),
      nextTurn: (callback) => time.nextTurn(callback),
      randomBytes: (length) => time.randomBytes(length),
      random: () => time.random(),
    }
    return createClient<ScriptedActors>('ws://scripted', { runtime, WebSocket, ...options })
  }

  /** The newest socket. */
  get socket(): ScriptedSocket {
    const socket = this.sockets.at(-1)
    if (!socket) throw new Error('nobody has connected')
    return socket
  }

  /** Lets the client do what it can do without time. */
  settle(): Promise<void> {
    return microtasks()
  }

  /** Lets time pass until the client tries again, and opens that socket. */
  async reconnected(): Promise<ScriptedSocket> {
    const { length } = this.sockets
    for (let n = 0; n < 1_000 && this.sockets.length === length; n++) await this.time.advance(100)
    if (this.sockets.length === length) throw new Error('the client does not come back')
    this.socket.welcome()
    return this.socket
  }
}

function call(handler: unknown, event: object): void {
  if (typeof handler === 'function') (handler as (event: object) => void)(event)
}

// --- what a server says, in few words

export function welcome(limits: Welcome['limits'] = {}): DownFrame {
  return { kind: 'welcome', session: 's_1', known: false, limits, now: 0 }
}

export function opened(sid: number, more: Partial<Extract<DownFrame, { kind: 'opened' }>> = {}): DownFrame {
  return { kind: 'opened', sid, next: 1, run: 'r_1', gen: 1, credit: 256, ...more }
}

/** Text items from number `seq` on; one string is one item. */
export function text(sid: number, seq: number, body: string | string[], lane = 0): DownFrame {
  return { kind: 'delta', sid, seq, lane, body, ts: 1_000 }
}

export function event(sid: number, seq: number, type: number | string, data: object = {}, cost = 1): DownFrame {
  return { kind: 'event', sid, seq, type, data: { ...data }, cost, ts: 1_000 }
}

export function gap(sid: number, from: number, next: number, more: object = {}): DownFrame {
  return { kind: 'gap', sid, from, next, reason: 'rewound', ...more }
}

export function done(sid: number, seq: number, data: object = { ms: 1 }): DownFrame {
  return { kind: 'end', sid, seq, outcome: 'done', data: { ...data } }
}

export function failed(sid: number, seq: number, code: string, retryable = false): DownFrame {
  return { kind: 'end', sid, seq, outcome: 'error', data: { code, message: `because of ${code}`, retryable } }
}

/** The receipt of `cancelled`, as its reader sees it. */
export const RECEIPT = {
  reason: 'user',
  by: 'client',
  settled: true,
  unsettled: [],
  provider: 'closed',
  tools: [],
  kept: 3,
  ms: 2,
} as const

export function cancelled(sid: number, seq: number): DownFrame {
  return {
    kind: 'end',
    sid,
    seq,
    outcome: 'cancelled',
    data: { ...writeReceipt({ ...RECEIPT, unsettled: [], tools: [] }) },
  }
}

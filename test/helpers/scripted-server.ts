import { type ClientOptions, createClient } from '../../client-sdk/client.ts'
import type { ActorMap, ActorTypes, Client, WebSocketClass, WebSocketLike } from '../../client-sdk/index.ts'
import { decodeUp } from '../../protocol/decode.ts'
import { encodeDown } from '../../protocol/encode.ts'
import type { DownFrame, UpFrame, Welcome } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { Chance, microtasks, VirtualTime } from '../simulation/virtual-time.ts'

type Kind = UpFrame['kind']
type FrameOf<K extends Kind> = Extract<UpFrame, { kind: K }>

/** The one actor of a scripted server. */
type ScriptedActors = { chat: ActorTypes<{ prompt?: string }, undefined, string> } & ActorMap

/** A socket as the client holds it; the test is the server at its other end, and says every word by itself. */
export class ScriptedSocket implements WebSocketLike {
  binaryType = 'blob'
  onopen: unknown
  onmessage: unknown
  onclose: unknown
  onerror: unknown
  /** The frames of each message of the client. */
  readonly messages: UpFrame[][] = []
  /** Bytes of each. */
  readonly sizes: number[] = []
  /** The code with which the client closed, `null` when it gave none; undefined while it did not close. */
  closeCode: number | null | undefined
  #taken = 0

  send(data: Uint8Array): void {
    const limits = { maxBytes: Number.POSITIVE_INFINITY, maxDepth: 16, maxValues: DEFAULT_LIMITS.maxValues }
    this.sizes.push(data.length)
    this.messages.push(decodeUp(data, limits))
  }

  close(code?: number): void {
    this.closeCode ??= code ?? null
  }

  /** The handshake is over. */
  open(): void {
    call(this.onopen, {})
  }

  /** The handshake is over, and HELLO is answered. */
  welcome(limits: Welcome['limits'] = {}): void {
    this.open()
    this.say({ kind: 'welcome', session: 's1', known: false, limits, now: 0 })
  }

  /** One message of the server. */
  say(...frames: DownFrame[]): void {
    this.sayBytes(encodeDown(frames))
  }

  sayBytes(bytes: Uint8Array): void {
    call(this.onmessage, { data: bytes.slice().buffer })
  }

  /** The socket is closed from the other side, or lost. */
  end(code = 1006): void {
    call(this.onclose, { code })
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

/** A place where clients connect to in virtual time, and where nothing is answered that the test does not say. */
export class ScriptedServer {
  readonly time: VirtualTime
  readonly sockets: ScriptedSocket[] = []
  #sleptMs = 0

  constructor(seed = 1) {
    this.time = new VirtualTime(new Chance(seed))
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

export const RECEIPT = {
  code: 1,
  by: 'client',
  settled: true,
  unsettled: [],
  provider: 'closed',
  tools: [],
  kept: 3,
  ms: 2,
} as const

export function cancelled(sid: number, seq: number): DownFrame {
  return { kind: 'end', sid, seq, outcome: 'cancelled', data: { ...RECEIPT, unsettled: [], tools: [] } }
}

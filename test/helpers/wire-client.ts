import { randomBytes } from 'node:crypto'
import { WebSocket } from 'ws'
import { decodeDown } from '../../protocol/decode.ts'
import { encodeUp } from '../../protocol/encode.ts'
import {
  type DownFrame,
  type Hello,
  type StartOptions,
  SUBPROTOCOL,
  type SubscriptionOptions,
  type UpFrame,
} from '../../protocol/frames.ts'
import { DEFAULT_LIMITS, type Limits } from '../../protocol/limits.ts'
import { Collector } from './collector.ts'
import { countOf, type Item, itemsOf } from './frame-items.ts'
import { PATIENCE_MS } from './patience.ts'

const NOTHING_MORE_TURNS = 4

export type Kind = DownFrame['kind']
export type FrameOf<K extends Kind> = Extract<DownFrame, { kind: K }>

export type WireClientOptions = {
  /** HELLO's `auth`. Default `alice`. */
  auth?: unknown
  /** The instance. Default: a new one. */
  client?: Uint8Array
  /** Default 1. */
  attempt?: number
  /** Default 0: text is not held back. */
  flushMs?: number
  /** Whether HELLO is sent, and WELCOME waited for. Default true; `unanswered` sends HELLO and does not wait. */
  hello?: boolean | 'unanswered'
  /** Frames in HELLO's own message. */
  with?: readonly UpFrame[]
  /** Whether PINGs are answered. Default true. */
  pong?: boolean
  headers?: Record<string, string>
  /** Default: the one of the protocol. */
  subprotocols?: string[]
  /** The server's limits, where they differ. */
  limits?: Partial<Limits>
  /** Default: that of `ws`. */
  WebSocket?: typeof WebSocket
}

/** One socket that speaks frames and does nothing by itself but answer PINGs. */
export interface WireClient extends AsyncDisposable {
  readonly socket: WebSocket
  readonly client: Uint8Array
  /** All that came, in order. */
  readonly frames: readonly DownFrame[]
  /** The frames of each message. */
  readonly messages: readonly (readonly DownFrame[])[]
  /** Bytes of each message. */
  readonly sizes: readonly number[]
  /** The close code. */
  readonly closed: Promise<number>
  /** Sends one message. */
  send(...frames: UpFrame[]): void
  sendRaw(bytes: Uint8Array | string): void
  start(sid: number, actor: string, input?: unknown, options?: StartOptions): void
  attach(sid: number, run: string, after: number | null, options?: SubscriptionOptions & { gen?: number }): void
  /** The first frame of that kind that `next` has not given yet, and of that stream if one is named. */
  next<K extends Kind>(kind: K, sid?: number): Promise<FrameOf<K>>
  /** The first frame for which `accepts` holds that `next` has not given yet. */
  find(accepts: (frame: DownFrame) => boolean): Promise<DownFrame>
  /** Resolves when `holds`; looked at after each message. */
  until(holds: () => boolean, what?: string): Promise<void>
  /** The server has handled all that was sent, and has had several turns to say what follows of it. */
  settle(): Promise<void>
  /** The text of a stream so far. */
  text(sid: number): string
  /** What came of a stream, one entry an item, however it was batched. */
  items(sid: number): Item[]
  /** How many items came of a stream. */
  count(sid: number): number
  /** Cuts the socket without a word. */
  cut(): void
}

/** Connects, says HELLO and waits for WELCOME. */
export async function wireClient(url: string, options: WireClientOptions = {}): Promise<WireClient> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const scanLimits = { maxBytes: limits.maxDown, maxDepth: limits.maxDepth, maxValues: limits.maxValues }
  const socket = new (options.WebSocket ?? WebSocket)(url, options.subprotocols ?? [SUBPROTOCOL], {
    perMessageDeflate: false,
    ...(options.headers ? { headers: options.headers } : {}),
  })
  const describe = (): string => `last came ${frames.slice(-8).map(short).join(' ')}`
  const came = new Collector<DownFrame>({ patienceMs: PATIENCE_MS, describe })
  const frames = came.items
  const messages: DownFrame[][] = []
  const sizes: number[] = []
  const given = new Set<DownFrame>()
  let failure: Error | undefined
  let nonce = 0

  function fail(error: unknown): void {
    failure ??= error instanceof Error ? error : new Error(String(error))
    came.end(failure)
  }

  const closed = new Promise<number>((resolve) => {
    socket.on('close', (code) => {
      resolve(code)
      came.end(`closed ${code}`)
    })
  })
  socket.on('error', fail)
  socket.on('message', (bytes: Buffer) => {
    sizes.push(bytes.length)
    try {
      const message = decodeDown(bytes, scanLimits)
      messages.push(message)
      for (const frame of message) {
        if (frame.kind === 'ping' && options.pong !== false && socket.readyState === socket.OPEN)
          socket.send(encodeUp([{ kind: 'pong', nonce: frame.nonce }]))
      }
      came.add(...message)
    } catch (error) {
      fail(error)
    }
  })

  const framesOf = (sid: number): DownFrame[] => frames.filter((frame) => 'sid' in frame && frame.sid === sid)

  function find(accepts: (frame: DownFrame) => boolean, what = 'such frame'): Promise<DownFrame> {
    return came.find(() => {
      const frame = frames.find((one) => !given.has(one) && accepts(one))
      if (frame) given.add(frame)
      return frame
    }, what)
  }

  const id = options.client ?? new Uint8Array(randomBytes(16))
  const self: WireClient = {
    socket,
    client: id,
    frames,
    messages,
    sizes,
    closed,
    send: (...up) => socket.send(encodeUp(up)),
    sendRaw: (bytes) => socket.send(bytes),
    start: (sid, actor, input = null, startOptions = {}) =>
      self.send({ kind: 'start', sid, actor, input, options: startOptions }),
    attach: (sid, run, after, attachOptions = {}) =>
      self.send({ kind: 'attach', sid, run, after, options: attachOptions }),
    next: (kind, sid) =>
      find(
        (frame) => frame.kind === kind && (sid === undefined || ('sid' in frame && frame.sid === sid)),
        sid === undefined ? kind : `${kind} of stream ${sid}`,
      ) as Promise<never>,
    find: (accepts) => find(accepts),
    until: (holds, what = 'what was waited for') => came.until(holds, what),
    async settle() {
      for (let turn = 0; turn < NOTHING_MORE_TURNS; turn++) {
        const mine = 1_000_000 + ++nonce
        self.send({ kind: 'ping', nonce: mine })
        await find((frame) => frame.kind === 'pong' && frame.nonce === mine, 'PONG')
      }
    },
    text: (sid) =>
      self
        .items(sid)
        .map(({ text }) => text ?? '')
        .join(''),
    items: (sid) => framesOf(sid).flatMap(itemsOf),
    count: (sid) => framesOf(sid).reduce((sum, frame) => sum + countOf(frame), 0),
    cut: () => socket.terminate(),
    async [Symbol.asyncDispose]() {
      socket.terminate()
      await closed
      if (failure && frames.length > 0) throw failure
    },
  }

  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
  if (options.hello !== false) {
    self.send(hello(options, id), ...(options.with ?? []))
    if (options.hello !== 'unanswered') await self.next('welcome')
  }
  return self
}

function hello(options: WireClientOptions, client: Uint8Array): Hello {
  return {
    kind: 'hello',
    auth: 'auth' in options ? options.auth : 'alice',
    client,
    attempt: options.attempt ?? 1,
    flushMs: options.flushMs ?? 0,
  }
}

function short(frame: DownFrame): string {
  const text = JSON.stringify(frame)
  return text.length > 160 ? `${text.slice(0, 160)}...` : text
}

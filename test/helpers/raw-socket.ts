import { connect, type Socket } from 'node:net'
import { SUBPROTOCOL } from '../../protocol/frames.ts'

/** How long anything may take to come. Reached only by what never comes. */
const PATIENCE_MS = 6_000

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** One WebSocket frame of the server. */
export type RawFrame = { opcode: number; fin: boolean; payload: Buffer }

/** How a connection ended: with which close code, or `reset` when there was no close frame. */
export type SocketEnd = number | 'reset'

export type FrameOptions = {
  /** Default `binary`. */
  opcode?: number
  /** Default true. */
  fin?: boolean
  /** The three reserved bits as a number. Default 0. */
  reserved?: number
  /** Default true, as a client must. */
  masked?: boolean
  /** Bytes that say the payload's length: 0 within the header, or 2 or 8. Default: the fewest. */
  lengthBytes?: 0 | 2 | 8
}

/** The bytes of one WebSocket frame as a client sends it, or would not. */
export function rawFrame(payload: Uint8Array, options: FrameOptions = {}): Buffer {
  const { opcode = OPCODE.binary, fin = true, reserved = 0, masked = true } = options
  const { length } = payload
  const lengthBytes = options.lengthBytes ?? (length < 126 ? 0 : length < 0x10000 ? 2 : 8)
  const head = Buffer.alloc(2 + lengthBytes + (masked ? 4 : 0))
  head[0] = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  head[1] = (masked ? 0x80 : 0) | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127)
  if (lengthBytes === 2) head.writeUInt16BE(length, 2)
  if (lengthBytes === 8) head.writeBigUInt64BE(BigInt(length), 2)
  const body = Buffer.from(payload)
  if (masked) {
    const key = [0x37, 0xfa, 0x21, 0x3d]
    key.forEach((byte, i) => (head[2 + lengthBytes + i] = byte))
    for (let i = 0; i < length; i++) body[i]! ^= key[i & 3]!
  }
  return Buffer.concat([head, body])
}

/** The request with which a client asks for a WebSocket, and what `headers` add to it or replace in it. */
export function upgradeRequest(headers: Record<string, string | string[] | undefined> = {}, path = '/'): string {
  const all: Record<string, string | string[] | undefined> = {
    Host: '127.0.0.1',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Protocol': SUBPROTOCOL,
    ...headers,
  }
  const lines = Object.entries(all).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((one) => `${name}: ${one}\r\n`),
  )
  return `GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`
}

/** A TCP connection that sends literal bytes, and takes apart what a WebSocket server says on it. */
export class RawSocket implements AsyncDisposable {
  readonly socket: Socket
  /** The head of the HTTP answer, once it is complete. */
  head: string | undefined
  /** All frames that came. */
  readonly frames: RawFrame[] = []
  /** All bytes that came and are no part of a complete head or frame. */
  rest: Buffer = Buffer.alloc(0)
  ending: SocketEnd | undefined
  /** Whether a close of the server is answered. */
  answersClose = true
  #ended = false
  readonly #watchers = new Set<() => void>()

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      this.rest = Buffer.concat([this.rest, chunk])
      this.#take()
      this.#look()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#ended = true
      const close = this.frames.find(({ opcode }) => opcode === OPCODE.close)
      this.ending = close ? (close.payload.length >= 2 ? close.payload.readUInt16BE(0) : 1005) : 'reset'
      this.#look()
    })
  }

  /** Connects and says nothing. */
  static async dial(url: string): Promise<RawSocket> {
    const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', noDelay: true })
    const raw = new RawSocket(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return raw
  }

  /** Connects and becomes a WebSocket. */
  static async open(url: string, headers: Parameters<typeof upgradeRequest>[0] = {}): Promise<RawSocket> {
    const raw = await RawSocket.dial(url)
    raw.write(upgradeRequest(headers))
    await raw.until(() => raw.head !== undefined, 'an answer to the upgrade')
    if (raw.head?.startsWith('HTTP/1.1 101 ') !== true) throw new Error(`no upgrade: ${raw.head}`)
    return raw
  }

  write(bytes: Uint8Array | string): void {
    if (!this.socket.destroyed) this.socket.write(bytes)
  }

  /** Sends one whole message. */
  message(payload: Uint8Array, options: FrameOptions = {}): void {
    this.write(rawFrame(payload, options))
  }

  /** Resolves when `holds`; looked at when something came. */
  async until(holds: () => boolean, what: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const watcher = (): void => {
        if (holds()) done(resolve)
        else if (this.#ended) done(() => reject(new Error(`the connection ended (${this.ending}) before ${what}`)))
      }
      const done = (settle: () => void): void => {
        clearTimeout(timer)
        this.#watchers.delete(watcher)
        settle()
      }
      const timer = setTimeout(() => done(() => reject(new Error(`no ${what} in time`))), PATIENCE_MS)
      this.#watchers.add(watcher)
      watcher()
    })
  }

  /** How the connection ends. Until then, and unless it is closed as it should be, this waits. */
  async end(patienceMs = PATIENCE_MS): Promise<SocketEnd> {
    if (this.#ended) return this.ending as SocketEnd
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`still open after ${patienceMs} ms`)), patienceMs)
      this.socket.once('close', () => {
        clearTimeout(timer)
        resolve()
      })
    })
    return this.ending as SocketEnd
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    await this.end()
  }

  #look(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }

  #take(): void {
    if (this.head === undefined) {
      const end = this.rest.indexOf('\r\n\r\n')
      if (end < 0) return
      this.head = this.rest.subarray(0, end).toString('latin1')
      this.rest = this.rest.subarray(end + 4)
    }
    if (!this.head.startsWith('HTTP/1.1 101 ')) return
    for (;;) {
      const { rest } = this
      const short = (rest[1] ?? 0) & 0x7f
      const start = short < 126 ? 2 : short === 126 ? 4 : 10
      if (rest.length < start) return
      const length = short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2))
      if (rest.length < start + length) return
      const payload = Buffer.from(rest.subarray(start, start + length))
      const opcode = rest[0]! & 0x0f
      this.frames.push({ opcode, fin: (rest[0]! & 0x80) !== 0, payload })
      if (opcode === OPCODE.close) {
        if (this.answersClose) this.write(rawFrame(payload, { opcode }))
        this.socket.end()
      }
      this.rest = rest.subarray(start + length)
    }
  }
}

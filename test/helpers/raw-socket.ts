import { connect, type Socket } from 'node:net'
import { SUBPROTOCOL } from '../../protocol/frames.ts'
import { Collector } from './collector.ts'
import { PATIENCE_MS } from './patience.ts'
import { frameAt, type WebSocketFrame } from './websocket-messages.ts'

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

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
  /** All bytes that came and are no part of a complete head or frame. */
  rest: Buffer = Buffer.alloc(0)
  ending: SocketEnd | undefined
  /** Whether a close of the server is answered. */
  answersClose = true
  readonly #came = new Collector<WebSocketFrame>({ patienceMs: PATIENCE_MS })

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      this.rest = Buffer.concat([this.rest, chunk])
      this.#take()
      this.#came.look()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      const close = this.frames.find(({ opcode }) => opcode === OPCODE.close)
      this.ending = close ? (close.payload.length >= 2 ? close.payload.readUInt16BE(0) : 1005) : 'reset'
      this.#came.end(`the connection ended (${this.ending})`)
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

  /** All frames that came. */
  get frames(): WebSocketFrame[] {
    return this.#came.items
  }

  write(bytes: Uint8Array | string): void {
    if (!this.socket.destroyed) this.socket.write(bytes)
  }

  /** Sends one whole message. */
  message(payload: Uint8Array, options: FrameOptions = {}): void {
    this.write(rawFrame(payload, options))
  }

  /** Resolves when `holds`; looked at when something came. */
  until(holds: () => boolean, what: string): Promise<void> {
    return this.#came.until(holds, what)
  }

  /** How the connection ends, once it has. */
  end(): Promise<SocketEnd> {
    return this.#came.find(() => this.ending, 'end of the connection')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    await this.end()
  }

  #take(): void {
    if (this.head === undefined) {
      const end = this.rest.indexOf('\r\n\r\n')
      if (end < 0) return
      this.head = this.rest.subarray(0, end).toString('latin1')
      this.rest = this.rest.subarray(end + 4)
    }
    if (!this.head.startsWith('HTTP/1.1 101 ')) return
    for (let frame = frameAt(this.rest); frame; frame = frameAt(this.rest)) {
      const { opcode, payload } = frame
      this.frames.push(frame)
      if (opcode === OPCODE.close) {
        if (this.answersClose) this.write(rawFrame(payload, { opcode }))
        this.socket.end()
      }
      this.rest = this.rest.subarray(frame.end)
    }
  }
}

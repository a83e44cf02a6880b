import type { Address, Link, LinkEnd, SocketMessage } from './memory-link.ts'

/** The third argument of `new transport.WebSocket()`. */
export type MemoryWebSocketOptions = {
  /** Headers of the upgrade request, such as `cookie` or `origin`. Default: none beyond those of every request. */
  headers?: { readonly [name: string]: string } | undefined
}

/**
 * The client's end of a connection in memory. It has the members of a browser's WebSocket that `createClient` uses,
 * with the same behaviour. `onmessage` receives each message as an `ArrayBuffer` or a string.
 */
export interface MemoryWebSocket {
  /** The address that it connects to. */
  readonly url: string
  /** The subprotocol that the server chose. */
  readonly protocol: string
  /** 0: connecting, 1: open, 2: closing, 3: closed. */
  readonly readyState: number
  /** The number of bytes that were sent and have not arrived. */
  readonly bufferedAmount: number
  /** Always `arraybuffer`: messages arrive as `ArrayBuffer`. */
  binaryType: string
  /** Called when the socket is open. */
  onopen: unknown
  /** Called with each message. */
  onmessage: unknown
  /** Called when the socket is closed. */
  onclose: unknown
  /** Called when the connection failed. */
  onerror: unknown
  /** Sends a copy of a message. After `close` it sends nothing. @throws Error while the socket is connecting. */
  send(data: string | ArrayBuffer | Uint8Array): void
  /**
   * Closes the socket.
   * @param code 1000, or 3000 to 4999. Default: no code, which the peer sees as 1005.
   * @param reason A short text for the peer. Default: empty.
   * @throws Error for any other code.
   */
  close(code?: number, reason?: string): void
}

/** The values of `readyState`, as in browsers. */
const STATE = { connecting: 0, open: 1, closing: 2, closed: 3 } as const

/** The implementation of `MemoryWebSocket` over a link. */
export class MemorySocket implements MemoryWebSocket, LinkEnd {
  readonly url: string
  binaryType = 'arraybuffer'
  onopen: unknown
  onmessage: unknown
  onclose: unknown
  onerror: unknown
  protocol = ''
  #state: (typeof STATE)[keyof typeof STATE] = STATE.connecting
  readonly #link: Link

  constructor(
    url: string | URL,
    protocols: string | string[],
    { headers = {} }: MemoryWebSocketOptions,
    connect: (address: Address, self: MemorySocket) => Link,
  ) {
    const { href, host, pathname, search, protocol } = new URL(url)
    if (!/^wss?:$/.test(protocol)) throw new SyntaxError(`${href} is not a WebSocket address: it must begin with ws:`)
    this.url = href
    this.#link = connect({ host, path: pathname + search, headers, offered: [protocols].flat() }, this)
  }

  get readyState(): number {
    return this.#state
  }

  get bufferedAmount(): number {
    return this.#link.bytesUp
  }

  send(data: string | ArrayBuffer | Uint8Array): void {
    if (this.#state === STATE.connecting) throw new Error('the socket is not open yet: wait for onopen')
    if (this.#state !== STATE.open) return
    this.#link.sendUp(
      typeof data === 'string' ? data : new Uint8Array(data instanceof ArrayBuffer ? data.slice(0) : data),
    )
  }

  close(code?: number, reason = ''): void {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999))
      throw new Error(`invalid close code ${code}: use 1000, or 3000 to 4999`)
    if (this.#state === STATE.closing || this.#state === STATE.closed) return
    this.#state = STATE.closing
    this.#link.closeUp(code ?? 1005, reason)
  }

  // --- called by the link

  opened(protocol: string): void {
    if (this.#state !== STATE.connecting) return
    this.protocol = protocol
    this.#state = STATE.open
    call(this.onopen, { type: 'open' })
  }

  failed(error: Error): void {
    call(this.onerror, { type: 'error', error, message: error.message })
  }

  arrived(message: SocketMessage): void {
    call(this.onmessage, { type: 'message', data: typeof message === 'string' ? message : message.buffer })
  }

  closed(code: number, reason: string): void {
    if (this.#state === STATE.closed) return
    this.#state = STATE.closed
    call(this.onclose, { type: 'close', code, reason, wasClean: code !== 1006 })
  }
}

function call(handler: unknown, event: object): void {
  if (typeof handler === 'function') (handler as (event: object) => void)(event)
}

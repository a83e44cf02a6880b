import type { Address, Link, LinkEnd, SocketMessage } from './memory-link.ts'

export type MemoryWebSocketOptions = {
  /** Headers of the request, such as `cookie` or `origin`, as a browser or another client would send them. */
  headers?: { readonly [name: string]: string }
}

/**
 * The client's end of a connection in memory: what `createClient` uses of a browser's WebSocket, with the same
 * behaviour. Messages are given to `onmessage` as an `ArrayBuffer`, or a string.
 */
export interface MemoryWebSocket {
  readonly url: string
  /** The subprotocol that the server chose. */
  readonly protocol: string
  /** 0: connecting, 1: open, 2: closing, 3: closed. */
  readonly readyState: number
  /** Bytes sent that have not arrived. */
  readonly bufferedAmount: number
  binaryType: string
  onopen: unknown
  onmessage: unknown
  onclose: unknown
  onerror: unknown
  /** Sends a message, which is copied. @throws Error while it is connecting. Once it closes, it sends nothing. */
  send(data: string | ArrayBuffer | Uint8Array): void
  /** Closes it. @throws Error for a code that is neither 1000 nor from 3000 to 4999. */
  close(code?: number, reason?: string): void
}

const STATE = { connecting: 0, open: 1, closing: 2, closed: 3 } as const

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
    if (!/^wss?:$/.test(protocol)) throw new SyntaxError(`${href} is no address of a WebSocket: it begins with ws:`)
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
    if (this.#state === STATE.connecting) throw new Error('the socket is not open yet')
    if (this.#state !== STATE.open) return
    this.#link.sendUp(
      typeof data === 'string' ? data : new Uint8Array(data instanceof ArrayBuffer ? data.slice(0) : data),
    )
  }

  close(code?: number, reason = ''): void {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999))
      throw new Error(`a client closes with 1000 or a code from 3000 to 4999, not with ${code}`)
    if (this.#state === STATE.closing || this.#state === STATE.closed) return
    this.#state = STATE.closing
    this.#link.closeUp(code ?? 1005, reason)
  }

  // --- what the link says

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

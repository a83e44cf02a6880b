import { SUBPROTOCOL } from '../../protocol/frames.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { Socket, SocketAcceptor, SocketEvents, TransportLimits, UpgradeRequest } from './transport.ts'

/** Time limit for the peer's answer to a close, in milliseconds. */
const CLOSE_MS = 2_000
/** The close code of a lost socket. No close frame carries it. */
const LOST = 1006
const TOO_LARGE = 1009
/** Bytes in transit that do not count as buffered, like those in a kernel: the messages of one loop turn all fit. */
const WIRE_BYTES = 1_048_576

/** The state that all connections of one memory transport share. */
export type Network = {
  readonly runtime: Pick<Runtime, 'nextTurn' | 'setTimer'>
  /** The connections that at least one end still has. */
  readonly links: Set<Link>
  /** The listening server, if there is one. */
  server: { readonly acceptor: SocketAcceptor; readonly limits: TransportLimits; isLeaving: boolean } | undefined
  isPaused: boolean
}

/** The target of a client's connection request, with its headers and subprotocols. */
export type Address = {
  readonly host: string
  readonly path: string
  readonly headers: { readonly [name: string]: string }
  readonly offered: readonly string[]
}

export type SocketMessage = Uint8Array<ArrayBuffer> | string

/** The client's end. */
export interface LinkEnd {
  opened(protocol: string): void
  /** The connection was refused. `closed` follows. */
  failed(error: Error): void
  arrived(message: SocketMessage): void
  closed(code: number, reason: string): void
}

type Item = { readonly message: SocketMessage } | { readonly code: number; readonly reason: string }

/** One direction of a connection: the items that were sent and have not arrived, in order. */
class Direction {
  readonly items: Item[] = []
  bytes = 0

  push(item: Item): void {
    this.items.push(item)
    this.bytes += sizeOf(item)
  }

  shift(): Item | undefined {
    const item = this.items.shift()
    if (item) this.bytes -= sizeOf(item)
    return item
  }

  clear(): void {
    this.items.length = 0
    this.bytes = 0
  }
}

/** One connection in memory. It is the socket of the server's end. */
export class Link implements Socket {
  readonly request: UpgradeRequest
  /** Resolves when the server's `closed` has been called. */
  readonly over: Promise<void>
  readonly #network: Network
  readonly #client: LinkEnd
  readonly #offered: readonly string[]
  readonly #up = new Direction()
  readonly #down = new Direction()
  #limits: TransportLimits | undefined
  #events: SocketEvents | undefined
  /** The state of the server's end. */
  #state: 'asked' | 'open' | 'closing' | 'closed' = 'asked'
  /** The client's `closed` has been called. */
  #isClientClosed = false
  #isScheduled = false
  #closeTimer: Timer | undefined
  #isOver: () => void = () => {}

  constructor(network: Network, { host, path, headers, offered }: Address, client: LinkEnd) {
    this.#network = network
    this.#client = client
    this.#offered = offered
    const all = new Map([
      ['host', host],
      ['connection', 'Upgrade'],
      ['upgrade', 'websocket'],
      ['sec-websocket-version', '13'],
    ])
    if (offered.length > 0) all.set('sec-websocket-protocol', offered.join(', '))
    for (const [name, value] of Object.entries(headers)) all.set(name.toLowerCase(), value)
    this.request = { url: path, headers: all, origin: all.get('origin'), remoteAddress: '127.0.0.1' }
    this.over = new Promise((resolve) => (this.#isOver = resolve))
    network.links.add(this)
    this.wake()
  }

  // --- the server's end

  get bufferedAmount(): number {
    return this.#state === 'closed' ? 0 : Math.max(0, this.#down.bytes - WIRE_BYTES)
  }

  send(bytes: Uint8Array): 'sent' | 'full' | 'closed' {
    if (this.#state !== 'open') return 'closed'
    if (this.bufferedAmount > this.#limits!.maxBuffered) return 'full'
    // A copy: the receiver keeps the bytes, and these may be a view of a larger buffer.
    this.#down.push({ message: new Uint8Array(bytes) })
    this.wake()
    return 'sent'
  }

  close(code: number, reason: string): void {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#down.push({ code, reason })
    this.#closeTimer = this.#network.runtime.setTimer(CLOSE_MS, () => this.terminate())
    this.wake()
  }

  terminate(): void {
    if (this.#state === 'asked' || this.#state === 'closed') return
    this.#up.clear()
    this.#down.clear()
    this.#down.push({ code: LOST, reason: '' })
    this.wake()
    this.#goes(LOST)
  }

  // --- the client's end

  get bytesUp(): number {
    return this.#up.bytes
  }

  sendUp(message: SocketMessage): void {
    this.#up.push({ message })
    this.wake()
  }

  closeUp(code: number, reason: string): void {
    // As in a browser: a client that closes before the connection is open loses it.
    if (this.#state === 'asked') return this.cut()
    this.#up.push({ code, reason })
    this.wake()
  }

  // --- the network between them

  /** Whether a server has accepted it, and its `closed` has not been called yet. */
  get isAccepted(): boolean {
    return this.#events !== undefined
  }

  get isClosing(): boolean {
    return this.#state === 'closing' || this.#state === 'closed'
  }

  /** Schedules the delivery of waiting items in the next loop turn, unless the network is paused. */
  wake(): void {
    if (this.#isScheduled || this.#network.isPaused) return
    if (this.#state !== 'asked' && this.#up.items.length === 0 && this.#down.items.length === 0) return
    this.#isScheduled = true
    this.#network.runtime.nextTurn(() => {
      this.#isScheduled = false
      if (this.#network.isPaused) return
      try {
        this.#deliver()
      } finally {
        this.wake()
      }
    })
  }

  /** Drops all items in transit and closes both ends. */
  cut(): void {
    this.#up.clear()
    this.#down.clear()
    this.#network.runtime.nextTurn(() => this.#closeClient(LOST, ''))
    if (this.#state === 'asked') this.#state = 'closed'
    else if (this.#state !== 'closed') this.#goes(LOST)
  }

  #deliver(): void {
    if (this.#state === 'asked') return this.#ask()
    for (let n = this.#up.items.length; n > 0; n--) this.#deliverUp(this.#up.shift())
    const wasBuffered = this.bufferedAmount > 0
    for (let n = this.#down.items.length; n > 0; n--) this.#deliverDown(this.#down.shift())
    if (wasBuffered && this.bufferedAmount === 0) this.#events?.drain()
  }

  #ask(): void {
    const { server } = this.#network
    if (!server) return this.#refuse('connect ECONNREFUSED: no server listens on this memory()', 'ECONNREFUSED')
    if (server.isLeaving) return this.#refuse('Unexpected server response: 503')
    const verdict = server.acceptor.verify(this.request)
    if (!verdict.ok && 'status' in verdict) return this.#refuse(`Unexpected server response: ${verdict.status}`)
    const isKnown = this.#offered.includes(SUBPROTOCOL)
    this.#limits = server.limits
    this.#state = 'open'
    if (verdict.ok) this.#events = server.acceptor.accept(this, isKnown ? 'known' : 'unknown')
    else this.close(verdict.closeCode, verdict.reason)
    // A client that names subprotocols must get one of them. The server closes an unknown one with 4406.
    this.#client.opened(isKnown ? SUBPROTOCOL : (this.#offered[0] ?? ''))
  }

  #refuse(why: string, code?: string): void {
    this.#state = 'closed'
    this.#up.clear()
    this.#client.failed(Object.assign(new Error(why), code === undefined ? {} : { code }))
    this.#closeClient(LOST, '')
  }

  #deliverUp(item: Item | undefined): void {
    if (!item || this.#state === 'closed') return
    if ('code' in item) {
      if (this.#state === 'open') this.#down.push(item)
      return this.#goes(item.code)
    }
    if (this.#state === 'closing') return
    if (typeof item.message === 'string') return this.#events?.text(item.message)
    if (item.message.length > this.#limits!.maxMessage) return this.close(TOO_LARGE, 'the message is too large')
    this.#events?.message(item.message)
  }

  #deliverDown(item: Item | undefined): void {
    if (!item || this.#isClientClosed) return
    if ('message' in item) return this.#client.arrived(item.message)
    if (item.code !== LOST && this.#state === 'closing') this.#up.push(item)
    this.#closeClient(item.code, item.reason)
  }

  #closeClient(code: number, reason: string): void {
    if (this.#isClientClosed) return
    this.#isClientClosed = true
    this.#forget()
    this.#client.closed(code, reason)
  }

  /** Ends the server's end. Its `closed` is called in a later loop turn, never from inside `send` or `close`. */
  #goes(code: number): void {
    this.#state = 'closed'
    this.#closeTimer?.clear()
    this.#network.runtime.nextTurn(() => {
      const events = this.#events
      this.#events = undefined
      this.#forget()
      events?.closed(code)
      this.#isOver()
    })
  }

  #forget(): void {
    if (this.#isClientClosed && !this.#events) this.#network.links.delete(this)
  }
}

function sizeOf(item: Item): number {
  return 'message' in item ? item.message.length : 0
}

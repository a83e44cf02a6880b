import type { WebSocketClass, WebSocketLike } from '../../client-sdk/index.ts'
import { SUBPROTOCOL } from '../../protocol/frames.ts'
import type { Socket, SocketAcceptor, SocketEvents, Transport } from '../../server/index.ts'
import type { Chance } from './virtual-time.ts'

type Down = { readonly bytes: Uint8Array } | { readonly close: number }

/** Looks at every message on its way, and may alter it: a rule broken on purpose. Undefined loses the message. */
export type Tamper = {
  up?(message: Uint8Array): Uint8Array | undefined
  down?(message: Uint8Array): Uint8Array | undefined
}

/**
 * One connection: ordered both ways until it is cut. A cut loses everything in flight, and each end learns of it in its
 * own time, or not at all.
 */
export class Link {
  readonly network: Network
  readonly client: FakeWebSocket | undefined
  readonly up: Uint8Array[] = []
  readonly down: Down[] = []
  /** Everything sent up so far, for late copies. */
  readonly sentUp: Uint8Array[] = []
  dead = false
  #server: SocketEvents | undefined
  #clientClosed = false
  #serverClosed = false

  constructor(network: Network, client: FakeWebSocket | undefined) {
    this.network = network
    this.client = client
  }

  /** The server accepts, and the client hears of it. */
  open(): void {
    this.#server = this.network.host.accept(new ServerEnd(this), 'known')
    this.client?.opened()
  }

  get isOpen(): boolean {
    return this.#server !== undefined
  }

  get isOver(): boolean {
    return this.#clientClosed && this.#serverClosed
  }

  get serverKnows(): boolean {
    return !this.#serverClosed
  }

  get clientKnows(): boolean {
    return !this.#clientClosed
  }

  sendUp(bytes: Uint8Array): void {
    this.sentUp.push(bytes)
    if (!this.dead) this.up.push(bytes)
  }

  /** The client closed: what it sent still arrives, unless the link is cut. */
  closeUp(): void {
    this.#clientClosed = true
  }

  deliverUp(): void {
    const message = this.up.shift()
    const altered = message && (this.network.tamper?.up ? this.network.tamper.up(message) : message)
    if (altered && !this.#serverClosed) this.#server?.message(altered)
  }

  deliverDown(): void {
    const message = this.down.shift()
    if (!message || this.#clientClosed) return
    if ('close' in message) return this.tellClient(message.close)
    const altered = this.network.tamper?.down ? this.network.tamper.down(message.bytes) : message.bytes
    if (altered) this.client?.received(altered)
  }

  cut(): void {
    this.dead = true
    this.up.length = 0
    this.down.length = 0
  }

  tellClient(code: number): void {
    if (this.#clientClosed) return
    this.#clientClosed = true
    this.client?.closed(code)
  }

  tellServer(code: number): void {
    if (this.#serverClosed) return
    this.#serverClosed = true
    this.#server?.closed(code)
  }

  /** The server answers, or closes. */
  sendDown(message: Down): boolean {
    if (this.#serverClosed) return false
    if (!this.dead) this.down.push(message)
    if ('close' in message) this.#serverClosed = true
    return true
  }

  /** The server gives the connection up without a word. */
  terminate(): void {
    this.#serverClosed = true
    this.cut()
  }
}

/** The server's end of a link. */
class ServerEnd implements Socket {
  readonly request = { url: '/', headers: new Map<string, string>(), origin: undefined, remoteAddress: '127.0.0.1' }
  readonly #link: Link

  constructor(link: Link) {
    this.#link = link
  }

  get bufferedAmount(): number {
    return this.#link.down.reduce((sum, message) => sum + ('bytes' in message ? message.bytes.length : 0), 0)
  }

  send(bytes: Uint8Array): 'sent' | 'closed' {
    return this.#link.sendDown({ bytes }) ? 'sent' : 'closed'
  }

  close(code: number): void {
    this.#link.sendDown({ close: code })
  }

  terminate(): void {
    this.#link.terminate()
  }
}

/** The client's end of a link, in the shape of a browser's WebSocket. */
export class FakeWebSocket implements WebSocketLike {
  binaryType = 'blob'
  onopen: unknown
  onmessage: unknown
  onclose: unknown
  onerror: unknown
  readonly #link: Link

  constructor(network: Network) {
    this.#link = new Link(network, this)
    network.links.push(this.#link)
  }

  send(data: Uint8Array): void {
    this.#link.sendUp(data.slice())
  }

  close(): void {
    this.#link.closeUp()
  }

  opened(): void {
    call(this.onopen, {})
  }

  received(bytes: Uint8Array): void {
    call(this.onmessage, { data: new Uint8Array(bytes).buffer })
  }

  closed(code: number): void {
    call(this.onclose, { code })
  }
}

function call(handler: unknown, event: object): void {
  if (typeof handler === 'function') (handler as (event: object) => void)(event)
}

/** All links between some clients and one server, and the server's transport. */
export class Network {
  readonly chance: Chance
  readonly links: Link[] = []
  readonly tamper: Tamper | undefined
  host!: SocketAcceptor

  constructor(chance: Chance, tamper: Tamper | undefined) {
    this.chance = chance
    this.tamper = tamper
  }

  /** What the server listens with. */
  get transport(): Transport {
    return {
      name: 'memory',
      listen: (host) => {
        this.host = host
        return Promise.resolve({ port: 1 })
      },
      stopAccepting: () => this.refuse(),
      close: () => Promise.resolve(),
    }
  }

  /** Nobody listens, until the next server does: connections are refused. */
  refuse(): void {
    this.host = {
      verify: () => ({ ok: true }),
      accept: (socket) => {
        socket.terminate()
        return { arrived() {}, message() {}, text() {}, drain() {}, closed() {} }
      },
    }
  }

  /** The class that clients make their connections with. */
  get WebSocket(): WebSocketClass {
    return webSocketOf(this)
  }

  /** Links on which something can happen. */
  get busy(): Link[] {
    return this.links.filter((link) => !link.isOpen || link.up.length > 0 || link.down.length > 0)
  }

  /** One thing happens on a link: it opens, or a message arrives. */
  step(link: Link): void {
    if (!link.isOpen) {
      if (!link.dead) link.open()
      return
    }
    const both = link.up.length > 0 && link.down.length > 0
    if (both ? this.chance.of(0.5) : link.up.length > 0) link.deliverUp()
    else link.deliverDown()
  }

  /** Forgets links that are over at both ends. */
  sweep(): void {
    for (let i = this.links.length - 1; i >= 0; i--) if (this.links[i]?.isOver) this.links.splice(i, 1)
  }
}

function webSocketOf(network: Network): WebSocketClass {
  return class extends FakeWebSocket {
    constructor(_url: string, protocol: string) {
      if (protocol !== SUBPROTOCOL) throw new Error(`unknown subprotocol ${protocol}`)
      super(network)
    }
  }
}

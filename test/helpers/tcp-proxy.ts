import { once } from 'node:events'
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net'
import { Collector } from './collector.ts'
import { WebSocketMessages } from './websocket-messages.ts'

/** Which end learns of a cut: the other one keeps a connection that leads nowhere. */
export type Learns = 'both' | 'client' | 'server'

/** What happens to one connection. What is left out does not happen. */
export type Fault = {
  /** Passes on so many bytes to the client, then cuts. */
  bytesDown?: number
  /** Passes on so many bytes to the server, then cuts. */
  bytesUp?: number
  /** Passes on so many WebSocket messages to the client, each whole, and nothing of the next one: it cuts there. */
  messagesDown?: number
  /** Default `both`. */
  learns?: Learns
  /** Passes everything on so much later. */
  delayMs?: number
  /** Passes on at most so many bytes a second in each direction, and stops reading what it cannot pass on. */
  bytesPerSec?: number
}

/**
 * A TCP proxy on 127.0.0.1 that does to a connection what networks do: cuts it at a chosen byte or message, so that both
 * ends or one of them learn of it; drops silently; delays; throttles.
 */
export class TcpProxy implements AsyncDisposable {
  /** In the order in which they came. */
  readonly connections: ProxiedConnection[] = []
  /** What happens to connection `n`, from 0. */
  plan: (n: number) => Fault = () => ({})
  readonly #server: Server
  readonly #target: number
  readonly #waiting: ((connection: ProxiedConnection) => void)[] = []

  /** A proxy in front of the server that listens on `port`. */
  static async to(port: number): Promise<TcpProxy> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new TcpProxy(server, port)
  }

  private constructor(server: Server, target: number) {
    this.#server = server
    this.#target = target
    server.on('connection', (client) => {
      const connection = new ProxiedConnection(client, this.#target, this.plan(this.connections.length))
      this.connections.push(connection)
      for (const arrived of this.#waiting.splice(0)) arrived(connection)
    })
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The next connection to come. */
  next(): Promise<ProxiedConnection> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const connection of this.connections) connection.cut()
    await closed
  }
}

/** One connection through the proxy. */
export class ProxiedConnection {
  readonly up: Direction
  readonly down: Direction
  readonly #client: Socket
  readonly #server: Socket

  constructor(client: Socket, port: number, fault: Fault) {
    const server = dial(port, '127.0.0.1')
    const cut = (): void => this.cut(fault.learns)
    this.#client = client
    this.#server = server
    this.up = new Direction(client, server, fault, { bytes: fault.bytesUp, cut })
    this.down = new Direction(server, client, fault, { bytes: fault.bytesDown, messages: fault.messagesDown, cut })
    for (const [end, other] of [
      [client, server],
      [server, client],
    ] as const) {
      end.setNoDelay(true)
      end.on('error', () => end.destroy())
      end.on('close', () => {
        // Only what a live connection says is passed on, also its end.
        if (!this.isCut) other.destroy()
      })
    }
  }

  /** Nothing passes any more. */
  get isCut(): boolean {
    return this.up.stopped
  }

  /** Nothing passes from now on. An end that does not learn of it keeps its socket until the proxy is closed. */
  cut(learns: Learns = 'both'): void {
    this.up.stop()
    this.down.stop()
    if (learns !== 'server') this.#client.destroy()
    if (learns !== 'client') this.#server.destroy()
  }

  /** From now on at most so many bytes a second pass in each direction. */
  throttle(bytesPerSec: number): void {
    this.up.bytesPerSec = bytesPerSec
    this.down.bytesPerSec = bytesPerSec
  }

  /** Drops everything in both directions from now on; neither end learns of it. */
  freeze(): void {
    this.up.stop()
    this.down.stop()
  }
}

type Limit = { bytes?: number | undefined; messages?: number | undefined; cut: () => void }

/** One direction of a connection. */
class Direction {
  /** Bytes passed on. */
  bytes = 0
  stopped = false
  bytesPerSec: number | undefined
  readonly #messages = new WebSocketMessages()
  readonly #passed = new Collector<never>()

  constructor(from: Socket, to: Socket, { delayMs = 0, bytesPerSec }: Fault, limit: Limit) {
    this.bytesPerSec = bytesPerSec
    const pass = (chunk: Buffer): void => {
      if (this.stopped) return
      this.#messages.push(chunk)
      const end = limit.messages === undefined ? undefined : this.#messages.endOf(limit.messages)
      const room = Math.min(limit.bytes ?? Number.POSITIVE_INFINITY, end ?? Number.POSITIVE_INFINITY) - this.bytes
      const part = chunk.subarray(0, room)
      const isLast = part.length === room
      this.bytes += part.length
      this.stopped = isLast
      const isTaken = to.write(part, () => isLast && limit.cut())
      if (!isTaken && this.bytesPerSec === undefined) {
        from.pause()
        to.once('drain', () => from.resume())
      }
      this.#passed.look()
    }
    from.on('data', (chunk: Buffer) => {
      if (this.bytesPerSec !== undefined) {
        from.pause()
        setTimeout(() => from.resume(), (chunk.length / this.bytesPerSec) * 1_000).unref()
      }
      if (delayMs > 0) setTimeout(() => pass(chunk), delayMs)
      else pass(chunk)
    })
  }

  /** The WebSocket messages passed on, each whole. */
  get messages(): Buffer[] {
    return this.#messages.found.filter(({ end }) => end <= this.bytes).map(({ payload }) => payload)
  }

  stop(): void {
    this.stopped = true
  }

  /** Resolves once `holds` does; looked at after every chunk. */
  until(holds: () => boolean): Promise<void> {
    return this.#passed.until(holds, 'what was waited for')
  }
}

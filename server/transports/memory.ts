import { MillraceError } from '../../protocol/errors.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { type Address, Link, type Network } from './memory-link.ts'
import { MemorySocket, type MemoryWebSocket, type MemoryWebSocketOptions } from './memory-socket.ts'
import type { Transport } from './transport.ts'

/** Time limit for closing sockets when the transport closes, in milliseconds: an END may still be in transit. */
const CLOSING_MS = 500
/** The port that `listen` resolves with: this transport has none. */
const NO_PORT = 1

/** The options of `memory()`. */
export type MemoryOptions = {
  /** The loop turns in which messages arrive, and the timer of a close. Default: those of the process. */
  runtime?: Pick<Runtime, 'nextTurn' | 'setTimer'> | undefined
}

/** The class for the `WebSocket` option of `createClient`. */
export type MemoryWebSocketClass = new (
  url: string | URL,
  protocols?: string | string[],
  options?: MemoryWebSocketOptions,
) => MemoryWebSocket

/** A transport inside this process. */
export interface MemoryTransport extends Transport {
  /** An address for clients. Any `ws:` address works, because the class below always connects to this transport. */
  readonly url: string
  /** The WebSocket class for clients. */
  readonly WebSocket: MemoryWebSocketClass
  /** Cuts all connections, as a lost network does: messages in transit are lost, and both ends close with 1006. */
  cut(): void
  /** Stops all deliveries in both directions. No end notices it, and new connections wait. */
  pause(): void
  /** Resumes deliveries, first of everything sent during the pause. */
  resume(): void
}

/**
 * Makes a transport without a network, for tests of an application. It is fast and uses no port.
 *
 * const transport = memory() const server = createServer({ actors, authenticate: anonymous(), transport }) await
 * server.listen() const client = createClient<typeof actors>(transport.url, { WebSocket: transport.WebSocket })
 *
 * A connection behaves like one over a network. Messages are copied and arrive in order, in a later loop turn. `send`
 * returns `full` to a server that sends too much. Either end may close with a code. A client gets 1006 if no server
 * listens. After a server has closed, another one can listen, as after a restart.
 *
 * Fake timers (`vi.useFakeTimers()`, `mock.timers`) control client, server and transport, if you install them before
 * you make these. Advance them with a function that also waits for promises, such as `vi.advanceTimersByTimeAsync`. For
 * a clock of your own, pass the same `runtime` to `memory`, `createServer` and `createClient`.
 */
export function memory({ runtime = system }: MemoryOptions = {}): MemoryTransport {
  const network: Network = { runtime, links: new Set(), server: undefined, isPaused: false }

  class WebSocket extends MemorySocket {
    constructor(url: string | URL, protocols: string | string[] = [], options: MemoryWebSocketOptions = {}) {
      super(url, protocols, options, (address: Address, self: MemorySocket) => new Link(network, address, self))
    }
  }

  function stopAccepting(): void {
    if (network.server) network.server.isLeaving = true
  }

  return {
    name: 'memory',
    url: 'ws://memory',
    WebSocket,

    async listen(acceptor, limits) {
      if (network.server)
        throw new MillraceError(
          'unavailable',
          'a server listens on this memory() already: make another memory() for another server',
        )
      network.server = { acceptor, limits, isLeaving: false }
      return { port: NO_PORT }
    },

    stopAccepting,

    async close() {
      stopAccepting()
      const links = [...network.links].filter((link) => link.isAccepted)
      for (const link of links) if (!link.isClosing) link.terminate()
      const timer = runtime.setTimer(CLOSING_MS, () => {
        for (const link of links) link.terminate()
      })
      await Promise.all(links.map(({ over }) => over))
      timer.clear()
      network.server = undefined
    },

    cut() {
      for (const link of network.links) link.cut()
    },

    pause() {
      network.isPaused = true
    },

    resume() {
      network.isPaused = false
      for (const link of network.links) link.wake()
    },
  }
}

const system: Pick<Runtime, 'nextTurn' | 'setTimer'> = {
  nextTurn: (callback) => void setImmediate(callback),
  setTimer(ms, callback) {
    const timer = setTimeout(callback, ms)
    timer.unref()
    return { clear: () => clearTimeout(timer) }
  },
}

import { MillraceError } from '../../protocol/errors.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { type Address, Link, type Network } from './memory-link.ts'
import { MemorySocket, type MemoryWebSocket, type MemoryWebSocketOptions } from './memory-socket.ts'
import type { Transport } from './transport.ts'

/** How long closing sockets may take when the transport closes: an END may still be on its way. */
const FAREWELL_MS = 500
/** Stands for the port of a transport that has none. */
const NO_PORT = 1

export type MemoryOptions = {
  /** When messages arrive, and how long a close may take. Default: turns and timers of the process. */
  runtime?: Pick<Runtime, 'nextTurn' | 'setTimer'>
}

export type MemoryWebSocketClass = new (
  url: string | URL,
  protocols?: string | string[],
  options?: MemoryWebSocketOptions,
) => MemoryWebSocket

/** A transport within this process. */
export interface MemoryTransport extends Transport {
  /** An address for clients: any other does as well, since the class below leads to this transport and nowhere else. */
  readonly url: string
  /** What clients make their connections with. */
  readonly WebSocket: MemoryWebSocketClass
  /** Cuts every connection: what is on its way is lost, and both ends are told, as after a lost network (1006). */
  cut(): void
  /** Nothing arrives any more at either end, and nobody is told: the network stands still. New connections wait. */
  pause(): void
  /** What was sent meanwhile arrives. */
  resume(): void
}

/**
 * Sockets without a network, for tests of an application: fast, and no port is taken.
 *
 *     const transport = memory()
 *     const server = createServer({ actors, authenticate: anonymous(), transport })
 *     await server.listen()
 *     const client = createClient<typeof actors>(transport.url, { WebSocket: transport.WebSocket })
 *
 * A connection behaves as one of a network does: messages are copied and arrive in order, in a later turn of the event
 * loop; a server that sends too much is told so; either side may close with a code. A client that finds nobody listening
 * is told as a browser tells it (1006). Once its server has closed, another one may listen, as after a restart.
 *
 * Fake timers (`vi.useFakeTimers()`, `mock.timers`) that were installed before the client and the server were made rule
 * all three: move them with a function that also waits for promises, as `vi.advanceTimersByTimeAsync` does. For time of
 * one's own give the same `runtime` to this, `createServer` and `createClient`.
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
        throw new MillraceError('unavailable', 'a server listens on this memory() already: make another one')
      network.server = { acceptor, limits, isLeaving: false }
      return { port: NO_PORT }
    },

    stopAccepting,

    async close() {
      stopAccepting()
      const links = [...network.links].filter((link) => link.isAccepted)
      for (const link of links) if (!link.isClosing) link.terminate()
      const timer = runtime.setTimer(FAREWELL_MS, () => {
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

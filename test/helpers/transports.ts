import uWS from 'uWebSockets.js'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { WebSocket } from 'ws'
import type { WebSocketClass } from '../../client-sdk/index.ts'
import type { MillraceServer, SocketAcceptor, Transport, TransportLimits } from '../../server/index.ts'
import { type MemoryTransport, memory } from '../../server/transports/memory.ts'
import { uws } from '../../server/transports/uws.ts'
import { ws } from '../../server/transports/ws.ts'
import { memoryPeer } from './memory-peer.ts'

/** Where clients connect. Its disposal closes what is not the transport's own. */
export type Reached = {
  url: string
  /** What `createClient` connects with, where it is not the usual class. */
  WebSocket?: WebSocketClass
  /** The same in the shape of the class of `ws`, for peers that speak for themselves. */
  Peer?: typeof WebSocket
} & Partial<AsyncDisposable>

/** One way for clients to reach a server. */
export type TransportUnderTest = {
  readonly name: string
  make(): Transport
  /** Lets sockets in for `host`. */
  open(transport: Transport, acceptor: SocketAcceptor, limits: TransportLimits): Promise<Reached>
  /** Lets clients in to a whole server, which has this transport. */
  reach(server: Pick<MillraceServer<never>, 'listen' | 'attach'>, transport: Transport): Promise<Reached>
}

export const onWs: TransportUnderTest = { name: 'ws', make: () => ws(), ...ownPort() }

export const onUws: TransportUnderTest = { name: 'uws', make: () => uws({ module: uWS }), ...ownPort() }

/** At one path of an HTTP server that answers `mine` to requests. */
export const attached: TransportUnderTest = {
  name: 'ws, attached',
  make: () => ws(),
  async open(transport, acceptor, limits) {
    const { http, ...reached } = await httpServer()
    transport.attach!(acceptor, limits, http, '/agents')
    return reached
  },
  async reach(server) {
    const { http, ...reached } = await httpServer()
    server.attach(http, { path: '/agents' })
    return reached
  },
}

/** Within this process. Its peers are made from the class that clients are given. */
export const inMemory: TransportUnderTest = {
  name: 'memory',
  make: () => memory(),
  async open(transport, acceptor, limits) {
    await transport.listen(acceptor, limits, { port: 0, host: '127.0.0.1' })
    return reachedInMemory(transport as MemoryTransport)
  },
  async reach(server, transport) {
    await server.listen(0)
    return reachedInMemory(transport as MemoryTransport)
  },
}

function reachedInMemory(transport: MemoryTransport): Reached {
  const { url, WebSocket } = transport
  return { url, WebSocket, Peer: memoryPeer(transport) }
}

function ownPort(): Pick<TransportUnderTest, 'open' | 'reach'> {
  return {
    async open(transport, acceptor, limits) {
      const { port } = await transport.listen(acceptor, limits, { port: 0, host: '127.0.0.1' })
      return { url: `ws://127.0.0.1:${port}` }
    },
    reach: (server) => server.listen(0),
  }
}

async function httpServer() {
  const http = createServer((request, response) => request.resume().on('end', () => response.end('mine')))
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  return {
    http,
    url: `ws://127.0.0.1:${(http.address() as AddressInfo).port}/agents`,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

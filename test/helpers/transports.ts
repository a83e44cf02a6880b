import uWS from 'uWebSockets.js'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { MillraceServer, SocketHost, Transport, TransportLimits } from '../../server/index.ts'
import { uws } from '../../server/transports/uws.ts'
import { ws } from '../../server/transports/ws.ts'

/** Where clients connect. Its disposal closes what is not the transport's own. */
export type Reached = { url: string } & Partial<AsyncDisposable>

/** One way for clients to reach a server. */
export type TransportUnderTest = {
  readonly name: string
  make(): Transport
  /** Lets sockets in for `host`. */
  open(transport: Transport, host: SocketHost, limits: TransportLimits): Promise<Reached>
  /** Lets clients in to a whole server, which has this transport. */
  reach(server: Pick<MillraceServer<never>, 'listen' | 'attach'>): Promise<Reached>
}

export const onWs: TransportUnderTest = { name: 'ws', make: () => ws(), ...ownPort() }

export const onUws: TransportUnderTest = { name: 'uws', make: () => uws({ module: uWS }), ...ownPort() }

/** At one path of an HTTP server that answers `mine` to requests. */
export const attached: TransportUnderTest = {
  name: 'ws, attached',
  make: () => ws(),
  async open(transport, host, limits) {
    const { http, ...reached } = await httpServer()
    transport.attach!(host, limits, http, '/agents')
    return reached
  },
  async reach(server) {
    const { http, ...reached } = await httpServer()
    server.attach(http, { path: '/agents' })
    return reached
  },
}

function ownPort(): Pick<TransportUnderTest, 'open' | 'reach'> {
  return {
    async open(transport, host, limits) {
      const { port } = await transport.listen(host, limits, { port: 0, host: '127.0.0.1' })
      return { url: `ws://127.0.0.1:${port}` }
    },
    reach: (server) => server.listen(0),
  }
}

async function httpServer() {
  const http = createServer((_, response) => response.end('mine'))
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

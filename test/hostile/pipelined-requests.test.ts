import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { createServer, type MillraceServer } from '../../server/server.ts'
import { bearer } from '../../server/sessions/auth.ts'
import { eventually, quiet } from '../helpers/server.ts'
import { silent } from '../helpers/test-actors.ts'

const actors = { silent: silent() }
const MOST_CONNECTIONS = 8
const options = {
  actors,
  authenticate: bearer({ alice: 'alice' }),
  logger: quiet,
  http: true,
  limits: { maxConnectionsTotal: MOST_CONNECTIONS },
} as const

type Served = AsyncDisposable & { readonly server: MillraceServer<typeof actors>; readonly url: URL }

async function onOwnPort(): Promise<Served> {
  const server = createServer(options)
  const { httpUrl = '' } = await server.listen(0)
  return { server, url: new URL(httpUrl), [Symbol.asyncDispose]: () => server.close({ drainMs: 0 }) }
}

/** At a path of an HTTP server of the application. */
async function onAttached(): Promise<Served> {
  const http = createHttpServer((_request, response) => response.end('mine'))
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const server = createServer(options)
  server.attach(http, { path: '/agents' })
  return {
    server,
    url: new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}/agents`),
    async [Symbol.asyncDispose]() {
      await server.close({ drainMs: 0 })
      http.close()
      http.closeAllConnections()
    },
  }
}

const PLACES = [
  ['a port of its own', onOwnPort],
  ['an attached server', onAttached],
] as const

/** One request of several that are sent before the first is answered. */
function request(url: URL, method: string, path: string, headers: readonly string[], body = ''): string {
  const length = body === '' ? [] : [`Content-Length: ${body.length}`]
  const lines = [
    `${method} ${url.pathname.replace(/\/$/, '')}${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    ...headers,
    ...length,
  ]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

async function sending(url: URL, text: string): Promise<Socket> {
  const socket = connect(Number(url.port), url.hostname)
  // The server may end the connection first.
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(text)
  return socket
}

const START = JSON.stringify({ actor: 'silent' })
const STREAM = ['Authorization: Bearer alice', 'Content-Type: application/json', 'Accept: text/event-stream']

describe.each(PLACES)('requests that come one behind the other on one connection, on %s', (_, serve) => {
  test('start runs that all hear that their client has left, whichever is answered', async () => {
    await using served = await serve()
    const { server, url } = served
    const start = request(url, 'POST', '/runs?disconnect=cancel', STREAM, START)
    const socket = await sending(url, start.repeat(3))
    await eventually(() => server.liveRuns === 3, 'all runs have begun')
    socket.destroy()
    await eventually(() => server.liveRuns === 0, 'all runs are cancelled')
  })

  test('take no place among the connections for good behind one that is refused and closed', async () => {
    await using served = await serve()
    const { server, url } = served
    const refused = request(url, 'POST', '/runs', ['Origin: http://evil.example', 'Expect: 100-continue'], START)
    const socket = await sending(url, refused + request(url, 'GET', '/runs', []).repeat(MOST_CONNECTIONS))
    await once(socket, 'data')
    socket.destroy()
    const ask = (): Promise<Response> =>
      fetch(`${url.href.replace(/\/$/, '')}/runs`, { headers: { authorization: 'Bearer alice' } })
    for (let answer = await ask(); answer.status !== 200; answer = await ask()) expect(answer.status).toBe(503)
    await server.close({ drainMs: 0 })
  })
})

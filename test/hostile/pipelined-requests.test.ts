import { once } from 'node:events'
import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { dial } from '../helpers/http-client.ts'
import { type HttpTestServer, httpServed } from '../helpers/http-served.ts'
import { eventually } from '../helpers/server.ts'
import { silent } from '../helpers/test-actors.ts'
import { attached, onWs } from '../helpers/transports.ts'

const actors = { silent: silent() }
const MOST_CONNECTIONS = 8
const limits = { maxConnectionsTotal: MOST_CONNECTIONS }

/** One request of several that are sent before the first is answered. */
function request(url: string, method: string, path: string, headers: readonly string[], body = ''): string {
  const length = body === '' ? [] : [`Content-Length: ${body.length}`]
  const target = `${new URL(url).pathname.replace(/\/$/, '')}${path}`
  const lines = [`${method} ${target} HTTP/1.1`, 'Host: 127.0.0.1', ...headers, ...length]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

async function sending({ httpUrl }: HttpTestServer<typeof actors>, text: string): Promise<Socket> {
  const socket = await dial(httpUrl)
  socket.write(text)
  return socket
}

const START = JSON.stringify({ actor: 'silent' })
const STREAM = ['Authorization: Bearer alice', 'Content-Type: application/json', 'Accept: text/event-stream']

describe.each([
  ['a port of its own', onWs],
  ['an attached server', attached],
])('requests that come one behind the other on one connection, on %s', (_, place) => {
  test('start runs that all hear that their client has left, whichever is answered', async () => {
    await using served = await httpServed(actors, { limits }, place)
    const { server, httpUrl } = served
    const start = request(httpUrl, 'POST', '/runs?disconnect=cancel', STREAM, START)
    const socket = await sending(served, start.repeat(3))
    await eventually(() => server.liveRuns === 3, 'all runs have begun')
    socket.destroy()
    await eventually(() => server.liveRuns === 0, 'all runs are cancelled')
  })

  test('take no place among the connections for good behind one that is refused and closed', async () => {
    await using served = await httpServed(actors, { limits }, place)
    const { httpUrl } = served
    const refused = request(httpUrl, 'POST', '/runs', ['Origin: http://evil.example', 'Expect: 100-continue'], START)
    const socket = await sending(served, refused + request(httpUrl, 'GET', '/runs', []).repeat(MOST_CONNECTIONS))
    await once(socket, 'data')
    socket.destroy()
    const ask = (): Promise<Response> => served.http().request('GET', '/runs')
    for (let answer = await ask(); answer.status !== 200; answer = await ask()) expect(answer.status).toBe(503)
  })
})

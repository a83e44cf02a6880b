import { once } from 'node:events'
import { createServer as createHttpServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { createServer, type MillraceServer } from '../../../server/server.ts'
import { bearer } from '../../../server/sessions/auth.ts'
import { RawSocket, upgradeRequest } from '../../helpers/raw-socket.ts'
import { counted, counter } from '../../helpers/test-actors.ts'
import { onUws } from '../../helpers/transports.ts'
import { wireClient } from '../../helpers/wire-client.ts'

type Http = AsyncDisposable & { http: Server; url: string }

async function httpServer(): Promise<Http> {
  const http = createHttpServer((request, response) => response.end(`mine: ${request.url}`))
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  return {
    http,
    url: `ws://127.0.0.1:${(http.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

function millrace(name?: string): MillraceServer<{ count: ReturnType<typeof counter> }> {
  return createServer({
    actors: { count: counter() },
    authenticate: bearer({ alice: 'alice' }),
    ...(name === undefined ? {} : { name }),
  })
}

/** Runs something there, and returns the name of the server. */
async function use(url: string): Promise<string | undefined> {
  await using client = await wireClient(url)
  client.start(1, 'count', 100)
  await client.next('end')
  expect(client.text(1)).toBe(counted(1, 100))
  return client.frames.flatMap((frame) => (frame.kind === 'welcome' ? [frame.server] : []))[0]
}

/** The first line of the answer to an upgrade request. */
async function answer(url: string, path: string): Promise<string | undefined> {
  await using raw = await RawSocket.dial(url)
  raw.write(upgradeRequest({}, path))
  await raw.until(() => raw.head !== undefined, 'an answer')
  return raw.head?.split('\r\n')[0]
}

describe('an attached server', () => {
  test('is found at its path, with any query, and nowhere else', async () => {
    await using mine = await httpServer()
    await using server = millrace()
    server.attach(mine.http, { path: '/agents' })
    await use(`${mine.url}/agents`)
    await use(`${mine.url}/agents?page=1`)
    for (const path of ['/', '/agents/', '/agentsx', '/Agents', '/x/agents', '/x?/agents'])
      expect(await answer(mine.url, path), path).toBe('HTTP/1.1 404 Not Found')
    const page = await fetch(mine.url.replace('ws:', 'http:').concat('/agents'))
    expect(await page.text()).toBe('mine: /agents')
  })

  test('leaves the upgrades of other paths to the other listeners of the server', async () => {
    await using mine = await httpServer()
    await using server = millrace()
    mine.http.on('upgrade', (request, socket: Duplex) => {
      if (request.url !== '/chat') return
      socket.end('HTTP/1.1 418 Mine\r\n\r\n')
    })
    server.attach(mine.http, { path: '/agents' })
    expect(await answer(mine.url, '/chat')).toBe('HTTP/1.1 418 Mine')
    await use(`${mine.url}/agents`)
  })

  test('may be attached to many servers and paths, and listen as well', async () => {
    await using first = await httpServer()
    await using second = await httpServer()
    await using server = millrace('one')
    await using other = millrace('two')
    server.attach(first.http, { path: '/a' })
    server.attach(first.http, { path: '/b' })
    server.attach(second.http, { path: '/a' })
    other.attach(first.http, { path: '/c' })
    const { url } = await server.listen(0)
    const served = [`${first.url}/a`, `${first.url}/b`, `${second.url}/a`, `${first.url}/c`, url]
    expect(await Promise.all(served.map(use))).toEqual(['one', 'one', 'one', 'two', 'one'])
  })

  test('detaches when it closes: its clients get GOAWAY, and the HTTP server and others on it go on', async () => {
    await using mine = await httpServer()
    await using other = millrace('other')
    const server = millrace()
    server.attach(mine.http, { path: '/agents' })
    other.attach(mine.http, { path: '/others' })
    await using client = await wireClient(`${mine.url}/agents`)
    await using stays = await wireClient(`${mine.url}/others`)
    await server.close({ drainMs: 0 })
    expect(await client.closed).toBe(4503)
    await stays.settle()
    expect(await answer(mine.url, '/agents')).toBe('HTTP/1.1 404 Not Found')
    const page = await fetch(mine.url.replace('ws:', 'http:'))
    expect(await page.text()).toBe('mine: /')
    await using next = millrace('next')
    next.attach(mine.http, { path: '/agents' })
    expect(await use(`${mine.url}/agents`)).toBe('next')
    await next.close()
    await other.close({ drainMs: 0 })
    expect(mine.http.listenerCount('upgrade')).toBe(0)
    expect(mine.http.listening).toBe(true)
  })

  test('answers 503 while it closes', async () => {
    await using mine = await httpServer()
    const server = millrace()
    server.attach(mine.http, { path: '/agents' })
    await using client = await wireClient(`${mine.url}/agents`)
    client.start(1, 'count', 1_000_000, { credit: 1 })
    await client.next('opened')
    const closing = server.close({ drainMs: 60_000 })
    await client.next('goaway')
    expect(await answer(mine.url, '/agents')).toBe('HTTP/1.1 503 Service Unavailable')
    client.send({ kind: 'cancel', sid: 1 })
    await closing
  })

  test('says why it cannot be attached', async () => {
    await using mine = await httpServer()
    await using server = millrace()
    await using other = millrace()
    const refusal = (path: string, to = server): unknown => {
      try {
        to.attach(mine.http, { path })
        return undefined
      } catch (error) {
        return error
      }
    }
    for (const path of ['', 'agents', '/a?b', '/a#b', '/a b'])
      expect(refusal(path), path).toMatchObject({
        code: 'bad_request',
        message: expect.stringContaining('begins with /'),
      })
    expect(refusal('/agents')).toBeUndefined()
    for (const to of [server, other])
      expect(refusal('/agents', to)).toMatchObject({
        message: '/agents of this HTTP server is attached already: choose another path',
      })
    const onItsOwn = createServer({
      actors: { count: counter() },
      authenticate: bearer({ alice: 'alice' }),
      transport: onUws.make(),
    })
    expect(refusal('/x', onItsOwn)).toMatchObject({ code: 'bad_request', message: expect.stringContaining('uws') })
    await onItsOwn.close()
    await other.close()
    expect(refusal('/y', other)).toMatchObject({ code: 'bad_request', message: expect.stringContaining('closed') })
    expect(mine.http.listenerCount('upgrade')).toBe(1)
  })
})

import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { mcp } from '../../server/mcp/mcp-endpoint.ts'
import { createServer } from '../../server/server.ts'
import { bearer } from '../../server/sessions/auth.ts'
import { heldByLoopback } from '../helpers/held-by-loopback.ts'
import { dial, rawHttp } from '../helpers/http-client.ts'
import { httpServed } from '../helpers/http-served.ts'
import { quiet } from '../helpers/server.ts'
import { counter } from '../helpers/test-actors.ts'
import { attached, onUws } from '../helpers/transports.ts'

const MB = 1_048_576
const LARGE = Buffer.alloc(8 * MB, ' ')
const JSON_BODY = 'Content-Type: application/json'
const ALICE = 'Authorization: Bearer alice'

const actors = { count: counter() }
const options = { authenticate: bearer({ alice: 'alice' }), logger: quiet, http: { mcp: mcp() } }

type Served = AsyncDisposable & { readonly url: string }

async function onOwnPort(): Promise<Served> {
  const served = await httpServed(actors, options)
  return { url: served.httpUrl, [Symbol.asyncDispose]: () => served[Symbol.asyncDispose]() }
}

async function besideUws(): Promise<Served> {
  const server = createServer({ actors, ...options, transport: onUws.make(), httpPort: 0 })
  const { httpUrl = '' } = await server.listen(0)
  return { url: httpUrl, [Symbol.asyncDispose]: () => server.close({ drainMs: 0 }) }
}

/** At a path of an HTTP server of the application. */
async function onAttached(): Promise<Served> {
  const served = await httpServed(actors, options, attached)
  return { url: served.httpUrl, [Symbol.asyncDispose]: () => served[Symbol.asyncDispose]() }
}

const PLACES = [
  ['a port of its own', onOwnPort],
  ['the port beside µWebSockets', besideUws],
  ['an attached server', onAttached],
] as const

function head(url: string, path: string, lines: readonly string[]): string {
  return `POST ${new URL(url).pathname.replace(/\/$/, '')}${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`
}

/** A request that waits for `100 Continue` with its body. */
function expecting(url: string, path: string, length: number, ...headers: string[]): string {
  const lines = ['Host: 127.0.0.1', 'Connection: close', 'Expect: 100-continue', `Content-Length: ${length}`]
  return head(url, path, [...headers, ...lines])
}

describe.each(PLACES)('on %s, a client that writes its whole request before it reads', (_, serve) => {
  test.each([
    ['/runs', 'application/json', 'alice', 413],
    ['/runs/x/input', 'application/json', 'alice', 413],
    ['/runs/x/cancel', 'application/json', 'alice', 413],
    ['/runs/x/rate', 'application/json', 'alice', 413],
    ['/tickets', 'application/json', 'alice', 413],
    ['/ag-ui/count', 'application/json', 'alice', 413],
    ['/ai-sdk/count', 'application/json', 'alice', 413],
    ['/v1/chat/completions', 'application/json', 'alice', 413],
    ['/v1/responses', 'application/json', 'alice', 413],
    ['/v1/responses/x/cancel', 'application/json', 'alice', 404],
    ['/mcp', 'application/json', 'alice', 413],
    ['/runs', 'application/json', 'nobody', 401],
    ['/runs', 'text/plain', 'alice', 415],
    ['/healthz', 'text/plain', 'alice', 405],
  ])('POST %s as %s by %s gets %i', async (path, type, token, status) => {
    await using served = await serve()
    const socket = await dial(served.url)
    const closed = once(socket, 'close')
    const lines = ['Host: 127.0.0.1', `Authorization: Bearer ${token}`, `Content-Type: ${type}`]
    socket.write(head(served.url, path, [...lines, `Content-Length: ${LARGE.length}`]))
    // Until the last byte is on its way, it reads nothing.
    await new Promise<void>((resolve, reject) => socket.write(LARGE, (error) => (error ? reject(error) : resolve())))
    let answer = ''
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text))
    await closed
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*\\r\\nConnection: close\\r\\n[^]*}$`, 'i'))
  })
})

describe.each(PLACES)('on %s, a client that waits for 100 Continue with its body', (_, serve) => {
  test.each([
    ['is too large', 3 * MB, [ALICE, JSON_BODY], 413],
    ['is of another type', 5, [ALICE], 415],
    ['comes without credentials', 5, [JSON_BODY], 401],
  ])('is refused at once if it %s', async (_, length, headers, status) => {
    await using served = await serve()
    expect(await rawHttp(served.url, expecting(served.url, '/runs', length, ...headers))).toMatch(
      new RegExp(`^HTTP/1.1 ${status} `),
    )
  })

  test('is told to send it, once, when the server wants it', async () => {
    await using served = await serve()
    const body = JSON.stringify({ actor: 'count', input: 1 })
    const socket = await dial(served.url)
    let answer = ''
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text))
    socket.write(expecting(served.url, '/runs', body.length, ALICE, JSON_BODY))
    await once(socket, 'data')
    expect(answer).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    socket.write(body)
    await once(socket, 'close')
    expect(answer).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 201 /)
  })
})

test('requests to other paths of an attached server are told to continue, or asked of the application', async () => {
  await using served = await onAttached()
  const elsewhere = served.url.replace('/agents', '/mine')
  const socket = await dial(elsewhere)
  let answer = ''
  socket.setEncoding('utf8').on('data', (text: string) => (answer += text))
  socket.write(expecting(elsewhere, '', 2))
  await once(socket, 'data')
  expect(answer).toBe('HTTP/1.1 100 Continue\r\n\r\n')
  socket.write('{}')
  await once(socket, 'close')
  expect(answer).toMatch(/HTTP\/1.1 200 [^]*mine/)

  const http = createHttpServer((_, response) => response.end('not asked'))
  http.on('checkContinue', (_, response) => response.writeHead(417).end())
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
  const server = createServer({ actors, ...options })
  server.attach(http, { path: '/agents' })
  expect(await rawHttp(url, expecting(url, '/mine', 2))).toMatch(/^HTTP\/1.1 417 /)
  await server.close({ drainMs: 0 })
  expect(http.listenerCount('checkContinue')).toBe(1)
  http.close()
  http.closeAllConnections()
})

describe('a client that was refused', () => {
  const begun = `POST /runs HTTP/1.1\r\nHost: 127.0.0.1\r\n${JSON_BODY}\r\nTransfer-Encoding: chunked\r\n\r\n`

  test('and sends as fast as it can for ever is cut off after a number of bytes', async () => {
    await using served = await onOwnPort()
    const socket = await dial(served.url)
    socket.resume()
    let isOpen = true
    const closed = new Promise<void>((resolve) =>
      socket.on('close', () => {
        isOpen = false
        resolve()
      }),
    )
    socket.write(begun)
    const chunk = `100000\r\n${'x'.repeat(MB)}\r\n`
    let sent = 0
    while (isOpen) {
      sent += MB
      if (!socket.write(chunk)) await Promise.race([once(socket, 'drain').catch(() => {}), closed])
    }
    expect(sent).toBeLessThan(80 * MB + 3 * (await heldByLoopback()))
  })

  test('and sends a little now and then for ever is cut off after a time', async () => {
    await using served = await onOwnPort()
    const socket = await dial(served.url)
    let answer = ''
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text))
    socket.write(begun)
    const trickle = setInterval(() => socket.write('1\r\nx\r\n'), 50)
    await once(socket, 'close')
    clearInterval(trickle)
    expect(answer).toMatch(/^HTTP\/1.1 401 /)
  })

  test('and sends nothing more is cut off sooner', async () => {
    await using served = await onOwnPort()
    expect(await rawHttp(served.url, begun)).toMatch(/^HTTP\/1.1 401 /)
  })
})

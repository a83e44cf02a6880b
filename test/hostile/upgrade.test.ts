import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeUp } from '../../protocol/encode.ts'
import type { UpFrame } from '../../protocol/frames.ts'
import { createServer } from '../../server/server.ts'
import { anonymous } from '../../server/sessions/auth.ts'
import { ws } from '../../server/transports/ws.ts'
import { RawSocket, upgradeRequest } from '../helpers/raw-socket.ts'
import { eventually, type TestServer, testServer } from '../helpers/server.ts'
import { silent } from '../helpers/test-actors.ts'
import { onUws, onWs } from '../helpers/transports.ts'

const app = 'https://app.example.com'
const hello: UpFrame = { kind: 'hello', auth: 'alice', client: new Uint8Array(16), attempt: 1 }

async function statusOf(raw: RawSocket): Promise<number> {
  await raw.until(() => raw.head !== undefined, 'an HTTP answer')
  return Number(raw.head?.split(' ')[1])
}

/** The status with which a request is answered. */
async function answer(url: string, request: string): Promise<number> {
  await using raw = await RawSocket.dial(url)
  raw.write(request)
  return await statusOf(raw)
}

describe.each([onWs, onUws])('an Origin on $name', (transport) => {
  test.each([
    ['of the list', app, 101],
    ['with a suffix', `${app}.evil.com`, 403],
    ['whose dot is any character', 'https://appXexample.com', 403],
    ['with another scheme', 'http://app.example.com', 403],
    ['with a port', `${app}:8443`, 403],
    ['with the default port written out', `${app}:443`, 403],
    ['with a path', `${app}/`, 403],
    ['in another case', 'https://APP.example.com', 403],
    ['with credentials before it', 'https://app.example.com@evil.com', 403],
    ['that is null', 'null', 403],
    ['that is empty', '', 403],
    ['that is no URL', '%%%', 403],
    ['of the host itself, which is not on the list', 'http://127.0.0.1', 403],
    ['twice, both of the list', [app, app], 403],
    ['twice, the first of the list', [app, 'https://evil.com'], 403],
    ['twice, the second of the list', ['https://evil.com', app], 403],
    ['as a list in one header', `${app}, https://evil.com`, 403],
  ])('%s is answered as the list of origins says', async (_, origin, status) => {
    await using server = await testServer({ silent: silent() }, { origins: [app] }, transport)
    expect(await answer(server.url, upgradeRequest({ Origin: origin }))).toBe(status)
  })

  test.each([
    ['the host that was asked', 'http://127.0.0.1', 101],
    ['another host', 'http://127.0.0.2', 403],
    ['another port', 'http://127.0.0.1:8080', 403],
    ['the host as a user name', 'http://127.0.0.1@evil.com', 403],
    ['the host as a subdomain', 'http://127.0.0.1.evil.com', 403],
    ['null', 'null', 403],
  ])('is compared with the host when there is no list: %s', async (_, origin, status) => {
    await using server = await testServer({ silent: silent() }, {}, transport)
    expect(await answer(server.url, upgradeRequest({ Origin: origin }))).toBe(status)
  })
})

/** Names under which a page may ask a server that listens on loopback. Any other may have been made to point there. */
const names: [host: string, status: number][] = [
  ['127.0.0.1', 101],
  ['127.0.0.1:7400', 101],
  ['127.8.9.10', 101],
  ['localhost', 101],
  ['LOCALHOST:7400', 101],
  ['app.localhost:5173', 101],
  ['localhost.', 101],
  ['[::1]:7400', 101],
  ['evil.example', 403],
  ['evil.example:7400', 403],
  ['localhost.evil.example', 403],
  ['notlocalhost', 403],
  ['127.0.0.1.evil.example', 403],
  ['1127.0.0.1', 403],
  ['0.0.0.0', 403],
  ['192.168.0.1', 403],
  ['[::1].evil.example', 403],
  ['', 403],
]

describe.each([onWs, onUws])('a Host name on $name', (transport) => {
  test.each(names)('%s is checked on loopback without a list of origins', async (host, status) => {
    const authenticate = anonymous()
    await using server = await testServer({ silent: silent() }, { authenticate }, transport)
    const page = upgradeRequest({ Host: host, Origin: `http://${host}` })
    expect(await answer(server.url, page)).toBe(status)
    expect(await answer(server.url, upgradeRequest({ Host: host }))).toBe(status)
  })

  test('is not checked where the origins are listed', async () => {
    await using server = await testServer({ silent: silent() }, { origins: [app] }, transport)
    expect(await answer(server.url, upgradeRequest({ Host: 'agents.example.com', Origin: app }))).toBe(101)
    expect(await answer(server.url, upgradeRequest({ Host: 'agents.example.com' }))).toBe(101)
  })
})

test.each([
  ['127.0.0.1', 403],
  ['0.0.0.0', 101],
])('a server attached to an HTTP server at %s answers a foreign Host name with %i', async (address, status) => {
  const http = createHttpServer()
  await new Promise<void>((resolve) => http.listen(0, address, resolve))
  const server = createServer({ actors: { silent: silent() }, authenticate: anonymous() })
  server.attach(http, { path: '/agents' })
  try {
    const url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}/agents`
    const page = upgradeRequest({ Host: 'app.example.com', Origin: 'http://app.example.com' }, '/agents')
    expect(await answer(url, page)).toBe(status)
  } finally {
    await server.close({ drainMs: 0 })
    http.closeAllConnections()
    http.close()
  }
})

const improper: [what: string, request: string, status: number][] = [
  ['a plain GET', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 426],
  ['a POST with a body', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc', 426],
  ['no key', upgradeRequest({ 'Sec-WebSocket-Key': undefined }), 400],
  ['a key that is too short', upgradeRequest({ 'Sec-WebSocket-Key': 'abc' }), 400],
  ['version 12', upgradeRequest({ 'Sec-WebSocket-Version': '12' }), 400],
  ['another upgrade', upgradeRequest({ Upgrade: 'h2c' }), 400],
  ['subprotocols that are no list', upgradeRequest({ 'Sec-WebSocket-Protocol': 'a,,b' }), 400],
  ['extensions that are no list', upgradeRequest({ 'Sec-WebSocket-Extensions': ';;;' }), 101],
  ['the same subprotocol twice', upgradeRequest({ 'Sec-WebSocket-Protocol': 'a, a' }), 400],
  ['no HTTP at all', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 400],
  ['a header of 17 KB', upgradeRequest({ 'X-Long': 'x'.repeat(17_000) }), 431],
  ['4,000 headers', upgradeRequest(Object.fromEntries(Array.from({ length: 4_000 }, (_, n) => [`X-${n}`, 'x']))), 431],
  ['a path of 17 KB', upgradeRequest({}, `/${'x'.repeat(17_000)}`), 431],
  [
    'two ways to say the length',
    'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n',
    400,
  ],
  ['a header that is folded and split', upgradeRequest({ 'X-Bad': 'a\r\n b: c\x00' }), 400],
]

/** The different answers of µWebSockets. It takes the folded header for one that has not ended. */
const IN_UWS: { [what: string]: number } = { 'no HTTP at all': 505, 'a header that is folded and split': 0 }

describe.each([
  [onWs, improper],
  [onUws, improper.map(([what, request, status]) => [what, request, IN_UWS[what] ?? status] as const)],
] as const)('a server on $name refuses an improper upgrade and lives on:', (transport, requests) => {
  let server: TestServer<{ silent: ReturnType<typeof silent> }>
  beforeAll(async () => {
    server = await testServer({ silent: silent() }, {}, transport)
  })
  afterAll(() => server[Symbol.asyncDispose]())

  test.each(requests.filter(([, , status]) => status > 0))('%s', async (_, request, status) => {
    await using server = await testServer({ silent: silent() }, {}, transport)
    expect(await answer(server.url, request)).toBe(status)
    await using client = await server.client()
    await client.settle()
  })
})

test('an unknown subprotocol is accepted and closed 4406, whatever comes with the upgrade', async () => {
  await using server = await testServer({ silent: silent() })
  await using raw = await RawSocket.open(server.url, { 'Sec-WebSocket-Protocol': 'graphql-ws, mqtt' })
  raw.message(encodeUp([hello, { kind: 'start', sid: 1, actor: 'silent', input: null, options: {} }]))
  expect(raw.head).toMatch(/sec-websocket-protocol: graphql-ws/i)
  expect(await raw.end()).toBe(4406)
  expect(server.server.liveRuns).toBe(0)
})

test('an upgrade and HELLO that arrive one byte at a time are served', async () => {
  // µWebSockets wants the first line in one piece.
  await using server = await testServer({ silent: silent() }, { transport: ws() })
  await using raw = await RawSocket.dial(server.url)
  for (const byte of Buffer.from(upgradeRequest())) {
    raw.write(Buffer.of(byte))
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(await statusOf(raw)).toBe(101)
  raw.message(encodeUp([hello]))
  await raw.until(() => raw.frames.length > 0, 'WELCOME')
})

test('a client that does not finish its headers, or sends nothing, is cut off, and delays no other', async () => {
  await using server = await testServer({ silent: silent() }, { transport: ws({ headersMs: 300 }) })
  const slow = await Promise.all(
    ['', 'GET / HT', 'GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ', upgradeRequest().slice(0, -2)].map(async (unfinished) => {
      const raw = await RawSocket.dial(server.url)
      raw.write(unfinished)
      const drip = setInterval(() => unfinished !== '' && raw.write('a'), 20)
      return { raw, drip, unfinished }
    }),
  )
  await using client = await server.client()
  for (const { raw, drip, unfinished } of slow) {
    await raw.end()
    clearInterval(drip)
    if (unfinished !== '') expect(raw.head).toMatch(/^HTTP\/1\.1 40[08] /)
  }
  await client.settle()
})

test('a body that never ends is cut off', async () => {
  await using server = await testServer({ silent: silent() }, { transport: ws({ headersMs: 300 }) })
  await using raw = await RawSocket.dial(server.url)
  raw.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n')
  const drip = setInterval(() => raw.write('a'), 20)
  await raw.end()
  clearInterval(drip)
})

test('a client that is reset in the middle of an upgrade or of a message leaves nothing behind', async () => {
  await using server = await testServer({ silent: silent() })
  const bytes = Buffer.concat([Buffer.from(upgradeRequest()), Buffer.from('829801020304', 'hex')])
  for (let cut = 1; cut <= bytes.length; cut += 7) {
    const raw = await RawSocket.dial(server.url)
    raw.write(bytes.subarray(0, cut))
    raw.socket.resetAndDestroy()
  }
  await eventually(() => server.server.connections === 0, 'all connections are gone')
})

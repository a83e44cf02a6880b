import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeUp } from '../../protocol/encode.ts'
import type { UpFrame } from '../../protocol/frames.ts'
import { createServer } from '../../server/server.ts'
import { anonymous } from '../../server/sessions/auth.ts'
import { ws } from '../../server/transports/ws.ts'
import { handClock } from '../helpers/hand-clock.ts'
import { OPCODE, RawSocket, upgradeRequest } from '../helpers/raw-socket.ts'
import { eventually, quiet, type TestServer, testServer } from '../helpers/server.ts'
import { silent } from '../helpers/test-actors.ts'
import { onUws, onWs } from '../helpers/transports.ts'

const app = 'https://app.example.com'
type Served = TestServer<{ silent: ReturnType<typeof silent> }>
const hello: UpFrame = { kind: 'hello', auth: 'alice', client: new Uint8Array(16), attempt: 1 }

async function statusOf(raw: RawSocket): Promise<number> {
  await raw.until(() => raw.head !== undefined, 'an HTTP answer')
  return Number(raw.head?.split(' ')[1])
}

/** With what a request is answered: a client of alice (101), the close code of a refusal, or another HTTP status. */
async function answer(url: string, request: string): Promise<number> {
  await using raw = await RawSocket.dial(url)
  raw.write(request)
  const status = await statusOf(raw)
  if (status !== 101) return status
  raw.message(encodeUp([hello]))
  await raw.until(() => raw.frames.length > 0, 'WELCOME or a close')
  return raw.frames[0]!.opcode === OPCODE.close ? Number(await raw.end()) : status
}

/** How a request of a page is answered, where `host` is the name under which it asks. */
const page = (host: string, Origin: string | undefined, more: Record<string, string> = {}, path = '/'): string =>
  upgradeRequest({ Host: host, ...(Origin === undefined ? {} : { Origin }), ...more }, path)

describe.each([onWs, onUws])('an Origin on $name', (transport) => {
  let server: Served
  beforeAll(async () => {
    server = await testServer({ silent: silent() }, { origins: [app] }, transport)
  })
  afterAll(() => server[Symbol.asyncDispose]())

  test.each([
    ['of the list', app, 101],
    ['with a suffix', `${app}.evil.com`, 4403],
    ['whose dot is any character', 'https://appXexample.com', 4403],
    ['with another scheme', 'http://app.example.com', 4403],
    ['with a port', `${app}:8443`, 4403],
    ['with the default port written out', `${app}:443`, 4403],
    ['with a path', `${app}/`, 4403],
    ['in another case', 'https://APP.example.com', 4403],
    ['with credentials before it', 'https://app.example.com@evil.com', 4403],
    ['that is null', 'null', 4403],
    ['that is empty', '', 4403],
    ['that is no URL', '%%%', 4403],
    ['of the host itself, which is not on the list', 'http://127.0.0.1', 101],
    ['twice, both of the list', [app, app], 4403],
    ['twice, the first of the list', [app, 'https://evil.com'], 4403],
    ['twice, the second of the list', ['https://evil.com', app], 4403],
    ['as a list in one header', `${app}, https://evil.com`, 4403],
  ])('%s is answered as the list of origins says', async (_, origin, status) => {
    expect(await answer(server.url, upgradeRequest({ Origin: origin }))).toBe(status)
  })

  test.each([
    ['the host that was asked', 'http://127.0.0.1', '127.0.0.1', 101],
    ['the host with the default port written out', 'http://localhost', 'localhost:80', 101],
    ['the same on TLS', 'https://localhost', 'localhost:443', 101],
    ['the default port of another scheme', 'https://localhost', 'localhost:80', 4403],
    ['another host', 'http://127.0.0.2', '127.0.0.1', 4403],
    ['another port', 'http://127.0.0.1:8080', '127.0.0.1', 4403],
    ['the host as a user name', 'http://127.0.0.1@evil.com', '127.0.0.1', 4403],
    ['the host as a subdomain', 'http://127.0.0.1.evil.com', '127.0.0.1', 4403],
    ['null', 'null', '127.0.0.1', 4403],
    ['a scheme without a host', 'file://', '', 4403],
  ])('is compared with the host, with and without a list: %s', async (_, origin, host, status) => {
    await using unlisted = await testServer({ silent: silent() }, {}, transport)
    expect(await answer(unlisted.url, page(host, origin))).toBe(status)
    expect(await answer(server.url, page(host, origin))).toBe(status)
  })
})

describe.each([onWs, onUws])('a refused page on $name', (transport) => {
  test('gets a reason, no answer to its HELLO, and no session', async () => {
    await using server = await testServer({ silent: silent() }, {}, transport)
    await using raw = await RawSocket.dial(server.url)
    raw.write(upgradeRequest({ Origin: 'https://evil.com' }))
    raw.message(encodeUp([hello, { kind: 'start', sid: 1, actor: 'silent', input: null, options: {} }]))
    expect(await raw.end()).toBe(4403)
    expect(raw.frames.map(({ payload }) => payload.subarray(2).toString())).toEqual([
      'this server does not accept pages of this origin: see its option `origins`',
    ])
    expect([server.server.connections, server.server.liveRuns]).toEqual([0, 0])
  })

  test('is reported once for each origin, with the option that admits it', async () => {
    await using server = await testServer({ silent: silent() }, {}, transport)
    for (let n = 0; n < 6; n++)
      expect(await answer(server.url, upgradeRequest({ Origin: `https://app-${n % 2}.com` }))).toBe(4403)
    const hint = 'to accept pages of this origin, add it to the option `origins` of createServer'
    expect(server.warnings).toEqual(
      [0, 1].map((n) => ({ event: 'origin.refused', origin: `https://app-${n}.com`, host: '127.0.0.1', hint })),
    )
  })

  test('is reported for at most 100 origins, each of bounded length', async () => {
    // 20 of one kind are written within ten seconds.
    const runtime = handClock()
    await using server = await testServer({ silent: silent() }, { runtime }, transport)
    const flood = (n: number): Promise<number> =>
      answer(server.url, upgradeRequest({ Origin: `https://${n}-${'x'.repeat(5_000)}.com` }))
    for (let n = 0; n < 120; n += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, m) => flood(n + m)))
      runtime.advance(20_000)
    }
    expect(server.warnings.map(({ event }) => event)).toEqual(Array.from({ length: 100 }, () => 'origin.refused'))
    expect(JSON.stringify(server.warnings).length).toBeLessThan(70_000)
    expect(server.server.connections).toBe(0)
  }, 20_000)
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
  ['evil.example', 4403],
  ['evil.example:7400', 4403],
  ['localhost.evil.example', 4403],
  ['notlocalhost', 4403],
  ['127.0.0.1.evil.example', 4403],
  ['1127.0.0.1', 4403],
  ['0.0.0.0', 4403],
  ['192.168.0.1', 4403],
  ['[::1].evil.example', 4403],
  ['', 4403],
]

describe.each([onWs, onUws])('a Host name on $name', (transport) => {
  test.each(names)('%s is checked on loopback without a list of origins', async (host, status) => {
    const authenticate = anonymous()
    await using server = await testServer({ silent: silent() }, { authenticate }, transport)
    expect(await answer(server.url, page(host, `http://${host}`))).toBe(status)
    expect(await answer(server.url, page(host, undefined))).toBe(status)
  })

  test('is not checked for listed origins and for clients without one, but still for all other pages', async () => {
    await using server = await testServer({ silent: silent() }, { origins: [app] }, transport)
    expect(await answer(server.url, page('agents.example.com', app))).toBe(101)
    expect(await answer(server.url, page('agents.example.com', undefined))).toBe(101)
    expect(await answer(server.url, page('evil.example', 'http://evil.example'))).toBe(4403)
    expect(await answer(server.url, page('localhost:7400', 'http://localhost:7400'))).toBe(101)
  })
})

describe.each([onWs, onUws])('X-Forwarded-Host on $name', (transport) => {
  const agents = 'agents.example.com'
  const forwarded = (host: string, origin = `https://${agents}`): string =>
    page('127.0.0.1:7400', origin, { 'X-Forwarded-Host': host })

  test('is ignored unless the server is told to trust a proxy', async () => {
    await using server = await testServer({ silent: silent() }, {}, transport)
    expect(await answer(server.url, forwarded(agents))).toBe(4403)
  })

  test.each([
    ['the name of the page', agents, 101],
    ['with the default port', `${agents}:443`, 101],
    ['in another case', 'Agents.Example.com', 101],
    ['of several proxies, the first of which names the page', `${agents}, proxy.internal`, 101],
    ['another name', 'other.example.com', 4403],
    ['another port', `${agents}:8443`, 4403],
    ['empty', '', 4403],
  ])('is the host of the request when a proxy is trusted: %s', async (_, host, status) => {
    await using server = await testServer({ silent: silent() }, { trustProxy: true }, transport)
    expect(await answer(server.url, forwarded(host))).toBe(status)
  })

  test('does not open a trusting server on loopback to pages that come past the proxy', async () => {
    await using server = await testServer({ silent: silent() }, { trustProxy: true }, transport)
    expect(await answer(server.url, page('evil.example', 'http://evil.example'))).toBe(4403)
    expect(await answer(server.url, page('evil.example', undefined))).toBe(4403)
    expect(await answer(server.url, page('localhost', 'http://localhost'))).toBe(101)
  })
})

test.each([
  ['https://app.example.com/', 'https://app.example.com'],
  ['https://app.example.com:443', 'https://app.example.com'],
  ['https://APP.example.com', 'https://app.example.com'],
  ['https://app.example.com/chat', 'https://app.example.com'],
  ['app.example.com', 'https://app.example.com'],
  ['*', 'https://app.example.com'],
  ['', 'https://app.example.com'],
  ['capacitor://localhost/', 'https://app.example.com'],
])('an entry of `origins` that no browser sends is refused by createServer: %s', (origin, advice) => {
  const create = (): unknown =>
    createServer({ actors: { silent: silent() }, authenticate: anonymous(), origins: [app, origin] })
  expect(create).toThrow(expect.objectContaining({ code: 'bad_request', message: expect.stringContaining(advice) }))
})

test('origins of apps and of sandboxed pages can be listed', async () => {
  const origins = ['capacitor://localhost', 'null', 'http://localhost:5173', 'http://[::1]:5173']
  await using server = await testServer({ silent: silent() }, { origins })
  for (const origin of origins) expect(await answer(server.url, upgradeRequest({ Origin: origin }))).toBe(101)
})

test.each([
  ['127.0.0.1', 4403],
  ['0.0.0.0', 101],
])('a server attached to an HTTP server at %s answers a foreign Host name with %i', async (address, status) => {
  const http = createHttpServer()
  await new Promise<void>((resolve) => http.listen(0, address, resolve))
  const server = createServer({
    actors: { silent: silent() },
    authenticate: anonymous(),
    logger: quiet,
  })
  server.attach(http, { path: '/agents' })
  try {
    const url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}/agents`
    expect(await answer(url, page('app.example.com', 'http://app.example.com', {}, '/agents'))).toBe(status)
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

import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { dashboard } from '../../server/dashboard/dashboard.ts'
import { pageFiles } from '../../server/dashboard/page-files.ts'
import { anonymous, createServer, demo, inspector } from '../../server/index.ts'
import { rawHttp } from '../helpers/http-client.ts'
import { type HttpTestServer, httpServed } from '../helpers/http-served.ts'
import { counter, silent } from '../helpers/test-actors.ts'
import { onUws } from '../helpers/transports.ts'

const actors = { count: counter(), silent: silent(), inspector: inspector() }
const assets = [...pageFiles().assets.keys()].map((name) => `assets/${name}`)
let server: HttpTestServer<typeof actors>

beforeAll(async () => {
  server = await httpServed(actors, { http: { dashboard: dashboard() } })
})
afterAll(async () => {
  expect(server.errors).toEqual([])
  await server[Symbol.asyncDispose]()
})

/** What is sent for a path, as it is on the way. */
async function fetchRaw(path: string, codings: string): Promise<{ headers: IncomingHttpHeaders; bytes: Buffer }> {
  const sent = request(`${server.httpUrl}/${path}`, { agent: false, headers: { 'accept-encoding': codings } }).end()
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  return { headers: answer.headers, bytes: Buffer.concat(await answer.toArray()) }
}

/** Sends a path as it is, which a client would normalize. */
function raw(path: string, host = '127.0.0.1'): Promise<string> {
  return rawHttp(server.httpUrl, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
}

describe('the page of the dashboard', () => {
  test('has a policy that allows its own files and its own server, and nothing else', async () => {
    const { headers, status } = await fetch(server.httpUrl)
    expect(status).toBe(200)
    const policy = headers.get('content-security-policy') ?? ''
    for (const rule of [
      ...["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:"],
      ...["base-uri 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"],
    ])
      expect(policy.split('; ')).toContain(rule)
    expect(policy).not.toMatch(/unsafe|\*/)
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('referrer-policy')).toBe('no-referrer')
    expect(headers.get('cache-control')).toBe('no-cache')
  })

  test('has no script, style or secret in its document, and nothing of the machine that built it', async () => {
    const texts = await Promise.all(
      ['', ...assets].map(async (path) => (await fetch(`${server.httpUrl}/${path}`)).text()),
    )
    const [page = ''] = texts
    expect(page).not.toMatch(/<style|style=|<script(?![^>]*src=)|alice/)
    const named = [...page.matchAll(/"\.\/(assets\/[^"]+)"/g)].map(([, path]) => path!)
    expect(named.length).toBeGreaterThan(1)
    expect(assets).toEqual(expect.arrayContaining(named))
    for (const text of texts) expect(text).not.toMatch(/sourceMappingURL|\/node_modules\/|file:\/\//)
  })

  test('has files that may be kept for ever, because their names change with them', async () => {
    for (const path of assets) {
      expect(path).toMatch(/^assets\/[\w-]+-[\w-]{8}\.(js|css)$/)
      const { headers } = await fetch(`${server.httpUrl}/${path}`)
      expect(headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
      expect(headers.get('content-type')).toMatch(/^text\/(javascript|css); charset=utf-8$/)
      expect(headers.get('x-content-type-options')).toBe('nosniff')
    }
  })

  test.each([
    ['gzip', true],
    ['deflate, gzip;q=0.5', true],
    ['GZIP', true],
    ['br;q=1.0, gzip ; q=0', false],
    ['gzip;q=0.000', false],
    ['identity', false],
    ['x-gzipped', false],
    ['', false],
  ])('is compressed for who says "%s": %s', async (codings, isCompressed) => {
    for (const path of ['', ...assets]) {
      const { headers, bytes } = await fetchRaw(path, codings)
      expect(headers['content-encoding']).toBe(isCompressed ? 'gzip' : undefined)
      expect(headers.vary?.split(', ')).toContain('accept-encoding')
      expect(headers['content-length']).toBe(String(bytes.length))
      const { document, assets: files } = pageFiles()
      const file = path === '' ? document : files.get(path.slice('assets/'.length))!
      expect((isCompressed ? gunzipSync(bytes) : bytes).equals(file.bytes)).toBe(true)
    }
  })

  test('is answered to HEAD without a body, and to no other method', async () => {
    for (const path of ['', ...assets]) {
      const headers = { 'accept-encoding': 'identity' }
      const whole = await (await fetch(`${server.httpUrl}/${path}`, { headers })).arrayBuffer()
      const head = await fetch(`${server.httpUrl}/${path}`, { method: 'HEAD', headers })
      expect(head.headers.get('content-length')).toBe(String(whole.byteLength))
      expect((await head.arrayBuffer()).byteLength).toBe(0)
      for (const method of ['POST', 'PUT', 'DELETE', 'PATCH'])
        expect((await fetch(`${server.httpUrl}/${path}`, { method })).status).toBe(405)
    }
  })

  test.each([
    '/assets/../index.html',
    '/assets/..%2findex.html',
    '/assets/%2e%2e/%2e%2e/package.json',
    '/assets/..%5c..%5cpackage.json',
    '/assets/....//package.json',
    '/assets/%00',
    '/assets/index.js%00.css',
    '/assets//etc/passwd',
    '/assets/%2fetc%2fpasswd',
    '/assets/constructor',
    '/assets/__proto__',
    '/assets/',
    '/assets',
    '/index.html',
    '//',
    '/%2f',
    '/.',
    '/dashboard/../../package.json',
  ])('has no file at %s', async (path) => {
    const answer = await raw(path)
    // A path that a client may normalize leads to the page itself, which anybody may read.
    const isPage = answer.startsWith('HTTP/1.1 200 ') && answer.includes('<div id="root">')
    expect(answer.startsWith('HTTP/1.1 404 ') || answer.startsWith('HTTP/1.1 400 ') || (isPage && path === '/.')).toBe(
      true,
    )
    expect(answer).not.toContain('root:')
    expect(answer).not.toContain('"name": "millrace"')
  })

  test('is refused under a foreign name, as all of a server on loopback is', async () => {
    expect(await raw('/', 'evil.example')).toMatch(/^HTTP\/1\.1 403 /)
  })
})

describe('the facts that the page asks for', () => {
  const facts = (path: string, token?: string): Promise<Response> =>
    fetch(
      `${server.httpUrl}/dashboard/${path}`,
      token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } },
    )

  test('need credentials', async () => {
    for (const path of ['actors', 'runs/r_nothing']) {
      expect((await facts(path)).status).toBe(401)
      expect((await facts(path, 'mallory')).status).toBe(401)
    }
  })

  test('name what one may do with a run: all of it with one of its own, and only what a right allows with another', async () => {
    const client = await server.client({ auth: 'alice' })
    client.send({ kind: 'start', sid: 1, actor: 'silent', input: null, options: {} })
    const { run } = await client.next('opened')
    const ofAlice = (await (await facts(`runs/${run}`, 'alice')).json()) as object
    expect(ofAlice).toMatchObject({ own: true, may: { cancel: true, approve: true, input: true, govern: true } })
    const ofEve = (await (await facts(`runs/${run}`, 'eve')).json()) as object
    expect(ofEve).toMatchObject({ own: false, may: { cancel: false, approve: false, input: false, govern: false } })
    expect((await facts(`runs/${run}`, 'bob')).status).toBe(404)
    await client[Symbol.asyncDispose]()
  })

  test('list the actors that one may start', async () => {
    const { actors } = (await (await facts('actors', 'alice')).json()) as { actors: { name: string }[] }
    expect(actors.map(({ name }) => name)).toEqual(['count', 'silent', 'inspector'])
  })
})

test('a server whose WebSockets are on another port takes those of its page on the port of the page', async () => {
  const other = createServer({
    actors: { inspector: inspector() },
    authenticate: anonymous(),
    defaultModel: demo(),
    transport: onUws.make(),
    httpPort: 0,
    http: { dashboard: dashboard() },
  })
  const { httpUrl = '' } = await other.listen(0)
  const socket = new WebSocket(httpUrl.replace('http:', 'ws:'), 'millrace.v1')
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = reject
  })
  const closed = new Promise((resolve) => {
    socket.onclose = resolve
  })
  await other.close({ drainMs: 0 })
  await closed
})

import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { actor } from '../../server/actors/actor.ts'
import { bearer } from '../../server/sessions/auth.ts'
import { ws } from '../../server/transports/ws.ts'
import { type Bystander, bystander } from '../helpers/bystander.ts'
import { ticker } from '../helpers/bystander-actor.ts'
import { heldByLoopback } from '../helpers/held-by-loopback.ts'
import { dial, rawHttp } from '../helpers/http-client.ts'
import { type HttpTestServer, httpServed } from '../helpers/http-served.ts'
import { eventually } from '../helpers/server.ts'
import { counter, silent } from '../helpers/test-actors.ts'
import { repetitions } from '../helpers/tier.ts'
import type { WireClient } from '../helpers/wire-client.ts'

const KB = 1_024
const STREAMS = repetitions({ quick: 400, full: 2_000 })
/** Generous: a figure of a quiet machine is far below. */
const KB_PER_STREAM = 96

const actors = {
  ticker: ticker(),
  silent: silent(),
  count: counter(),
  echo: actor({ ask: (input) => input as string }),
}
let server: HttpTestServer<typeof actors>
let watcher: WireClient
let unharmed: Bystander

beforeAll(async () => {
  server = await httpServed(actors)
  watcher = await server.client({ auth: 'bob' })
  unharmed = await bystander(watcher)
})

afterAll(async () => {
  await unharmed.finish()
  await watcher[Symbol.asyncDispose]()
  expect(server.errors).toEqual([])
  await server[Symbol.asyncDispose]()
})

function head(method: string, path: string, headers: Record<string, string | number> = {}): string {
  const all = { Host: '127.0.0.1', Authorization: 'Bearer alice', Connection: 'close', ...headers }
  return `${method} ${path} HTTP/1.1\r\n${Object.entries(all)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`
}

describe('a request', () => {
  test.each([
    ['with a body that is no JSON', '{', 'application/json', 400, 'bad_request'],
    ['with a body that is no UTF-8', '"\xff"', 'application/json', 400, 'bad_request'],
    ['with an empty body', '', 'application/json', 400, 'bad_request'],
    ['with a form', 'actor=count', 'application/x-www-form-urlencoded', 415, 'unsupported'],
    ['with text, as any page may send', '{"actor":"count"}', 'text/plain', 415, 'unsupported'],
    [
      'with a list of a hundred thousand lists',
      '['.repeat(100_000) + ']'.repeat(100_000),
      'application/json',
      400,
      'bad_request',
    ],
    [
      'with an input of many values',
      `{"actor":"echo","input":[${'1,'.repeat(20_000)}1]}`,
      'application/json',
      400,
      'bad_request',
    ],
    [
      'with an input that is deep',
      `{"actor":"echo","input":${'['.repeat(5_000)}${']'.repeat(5_000)}}`,
      'application/json',
      400,
      'bad_request',
    ],
    ['with the key __proto__', '{"actor":"echo","__proto__":{}}', 'application/json', 400, 'bad_request'],
  ])('%s is answered with a problem', async (_, body, type, status, code) => {
    const bytes = Buffer.from(body, 'latin1')
    const answer = await fetch(`${server.httpUrl}/runs`, {
      method: 'POST',
      body: bytes,
      headers: { authorization: 'Bearer alice', 'content-type': type },
    })
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(await answer.json()).toMatchObject({ status, code })
  })

  test('that announces a huge body is refused before it is sent', async () => {
    const announced = head('POST', '/runs', { 'Content-Type': 'application/json', 'Content-Length': 10_000_000_000 })
    const answer = await rawHttp(server.httpUrl, `${announced}{"actor":`)
    expect(answer).toMatch(/^HTTP\/1.1 413 /)
    expect(answer).toContain('maxMessage')
  })

  test('that sends a huge body without a length is refused once it is too large', async () => {
    const begun = head('POST', '/runs', { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' })
    const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`
    const answer = await rawHttp(server.httpUrl, begun + chunk.repeat(8))
    expect(answer).toMatch(/^HTTP\/1.1 413 /)
  })

  test('with a compressed body is refused, whatever it would grow to', async () => {
    const { status, body } = await server
      .http()
      .json('POST', '/runs', '{}', { 'content-type': 'application/json', 'content-encoding': 'gzip' })
    expect({ status, body }).toMatchObject({ status: 415, body: { code: 'unsupported' } })
  })

  test.each([
    ['/runs/../../etc/passwd', 404],
    ['/runs/%2e%2e/%2e%2e/etc/passwd', 404],
    ['//evil.example/runs', 404],
    ['/runs/%', 404],
    ['/runs/%ff', 404],
    ['/runs/%00', 404],
    ['/runs/__proto__', 404],
    ['/runs/constructor/events', 404],
    ['/actors/__proto__/stream', 404],
    ['/actors/toString/stream', 404],
    [`/runs/${'a'.repeat(8_000)}`, 404],
    ['/runs?limit=-1', 400],
    ['/runs?limit=1&limit=2', 400],
    ['/runs?__proto__=1', 400],
    ['/runs/x/events?after=1e99', 400],
    ['/runs/x/events?after=99999999999999999999', 400],
  ])('for %s is answered with a problem', async (path, status) => {
    const answer = await rawHttp(server.httpUrl, head('GET', path))
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(answer).toContain('application/problem+json')
    expect(answer).not.toContain('root:')
  })

  test.each(['PUT', 'DELETE', 'TRACE', 'PROPFIND'])('with the method %s is refused', async (method) => {
    expect(await rawHttp(server.httpUrl, head(method, '/runs'))).toMatch(/^HTTP\/1.1 (405|400) /)
  })

  test.each([
    ['two lengths', 'POST /runs HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{'],
    [
      'a length and chunks',
      'POST /runs HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a header with a line break', 'GET /runs HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n'],
    ['no host', 'GET /runs HTTP/1.1\r\n\r\n'],
    ['headers of 20 KB', `GET /runs HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(20 * KB)}\r\n\r\n`],
  ])('with %s is refused and its connection closed', async (_, bytes) => {
    expect(await rawHttp(server.httpUrl, bytes)).toMatch(/^HTTP\/1.1 4\d\d /)
  })

  test.each([
    ['no JSON', '{', 400],
    ['no messages', '{"model":"echo","messages":[]}', 400],
    ['a role that nobody has', '{"model":"echo","messages":[{"role":"root","content":"x"}]}', 400],
    [
      'content that is deep',
      `{"model":"echo","messages":[{"role":"user","content":${'['.repeat(5_000)}${']'.repeat(5_000)}}]}`,
      400,
    ],
    [
      'a tool whose text cannot be sent',
      '{"model":"echo","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"a\\ud800"}}]}',
      400,
    ],
    [
      'a file that is no base64',
      '{"model":"echo","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,%%"}}]}]}',
      400,
    ],
  ])("to OpenAI's API with %s is answered in its form", async (_, body, status) => {
    const answer = await server.http().json('POST', '/v1/chat/completions', body)
    expect(answer).toMatchObject({
      status,
      body: { error: { type: 'invalid_request_error', message: expect.any(String) } },
    })
  })

  test('of several origins, or with a foreign host on loopback, is refused', async () => {
    const two = `GET /runs HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n`
    expect(await rawHttp(server.httpUrl, two)).toMatch(/^HTTP\/1.1 403 /)
    expect(await rawHttp(server.httpUrl, head('GET', '/runs', { Host: 'evil.example' }))).toMatch(/^HTTP\/1.1 403 /)
  })

  test('that is pipelined behind one that was refused with its body unread is not taken from that body', async () => {
    const body = head('POST', '/runs', { 'Content-Type': 'application/json' })
    const first = `POST /runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`
    const answer = await rawHttp(server.httpUrl, first + body)
    expect(answer.match(/HTTP\/1.1 /g)).toHaveLength(1)
    expect(answer).toMatch(/^HTTP\/1.1 401 /)
  })
})

describe('slow clients', () => {
  test('that never finish their headers are cut off', async () => {
    await using impatient = await httpServed({ silent: silent() }, { transport: ws({ headersMs: 300 }) })
    const sockets = await Promise.all(Array.from({ length: 50 }, () => dial(impatient.httpUrl)))
    for (const socket of sockets) socket.write('POST /runs HTTP/1.1\r\nHost: x\r\nX: ')
    await Promise.all(sockets.map((socket) => ended(socket)))
  })
})

test(`${STREAMS} idle event streams take bounded memory, and a client over a WebSocket notices nothing`, async () => {
  const people = Object.fromEntries(Array.from({ length: STREAMS / 20 }, (_, n) => [`p${n}`, `p${n}`]))
  const authenticate = bearer({ bob: 'bob', ...people })
  await using crowded = await httpServed(actors, { authenticate })
  await using client = await crowded.client({ auth: 'bob' })
  const reader = await bystander(client)
  globalThis.gc?.()
  const before = process.memoryUsage()
  const sockets: Socket[] = []
  for (const person of Object.keys(people)) {
    const { body } = await crowded.http(person).json('POST', '/runs', { actor: 'silent' })
    const request = head('GET', `/runs/${String(body['run'])}/events`, {
      Authorization: `Bearer ${person}`,
      Accept: 'text/event-stream',
    })
    const opened = Array.from({ length: 20 }, async () => {
      const socket = await dial(crowded.httpUrl)
      sockets.push(socket)
      const answered = new Promise<string>((resolve) =>
        socket.once('data', (chunk) => resolve(chunk.toString('latin1'))),
      )
      socket.write(request)
      expect(await answered).toMatch(/^HTTP\/1.1 200 /)
    })
    await Promise.all(opened)
  }
  globalThis.gc?.()
  const after = process.memoryUsage()
  // The clients of this process are in it as well.
  const perStream = (after.heapUsed + after.external - before.heapUsed - before.external) / KB / STREAMS
  expect(perStream).toBeLessThan(KB_PER_STREAM)
  const [person = ''] = Object.keys(people)
  const one = await crowded.http(person).json('GET', '/runs')
  const [run] = one.body['runs'] as { run: string }[]
  const more = await crowded.http(person).json('GET', `/runs/${run!.run}/events`)
  expect(more).toMatchObject({ status: 429, body: { code: 'too_many_streams' } })
  const { rttMaxMs } = await reader.finish()
  console.log(
    `${STREAMS} idle event streams: ${perStream.toFixed(1)} KB of heap each, both ends; RTT max ${rttMaxMs} ms`,
  )
  for (const socket of sockets) socket.destroy()
  await eventually(() => crowded.server.liveRuns === STREAMS / 20, 'the runs go on')
}, 60_000)

test('a client that does not read is served no more than the socket holds, and its run waits', async () => {
  const count = counter()
  const text = 'x'.repeat(1_000)
  let produced = 0
  const flood = actor({
    async *stream() {
      for (produced = 0; ; produced++) yield text
    },
  })
  await using crowded = await httpServed({ count, flood, ticker: ticker() })
  await using client = await crowded.client({ auth: 'bob' })
  const reader = await bystander(client)
  const socket = await dial(crowded.httpUrl)
  socket.pause()
  const body = JSON.stringify({ actor: 'flood' })
  socket.write(
    head('POST', '/runs', {
      Accept: 'text/event-stream',
      'Content-Type': 'application/json',
      'Content-Length': body.length,
    }) + body,
  )
  // It has stopped once two looks find the same.
  let last = -1
  await eventually(() => {
    const stands = produced > 0 && produced === last
    last = produced
    return stands && ++still > 200
  }, 'the actor waits')
  const bounded = produced
  expect(bounded).toBeLessThan(20_000 + (3 * (await heldByLoopback())) / text.length)
  socket.resume()
  await eventually(() => produced > bounded + 1_000, 'the actor goes on')
  socket.destroy()
  const { items } = await reader.finish()
  expect(items).toBeGreaterThan(0)
})

let still = 0

function ended(socket: Socket): Promise<void> {
  socket.resume()
  return new Promise((resolve) => socket.on('close', () => resolve()))
}

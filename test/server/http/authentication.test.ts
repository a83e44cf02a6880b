import { describe, expect, test } from 'vitest'
import { type Authenticate, anonymous, bearer } from '../../../server/sessions/auth.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { httpServed } from '../../helpers/http-served.ts'
import { eventually } from '../../helpers/server.ts'
import { counter, silent } from '../../helpers/test-actors.ts'

/** alice by a cookie, and by nothing else. */
const byCookie: Authenticate = ({ headers }) => (headers.get('cookie') === 'sid=alice' ? { id: 'alice' } : undefined)

describe('a request', () => {
  test('without valid credentials is answered with 401, and learns nothing of what exists', async () => {
    await using server = await httpServed({ silent: silent() })
    const { body } = await server.http().json('POST', '/runs', { actor: 'silent' })
    for (const path of ['/runs', `/runs/${String(body['run'])}`, '/runs/r_none']) {
      for (const client of [server.http(null), server.http('mallory')]) {
        const answer = await client.json('GET', path)
        expect(answer).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
        expect(answer.headers.get('www-authenticate')).toBe('Bearer')
      }
    }
    const inQuery = await server.http(null).json('GET', '/runs?token=alice&access_token=alice')
    expect(inQuery.status).toBe(401)
  })

  test.each([
    ['no credentials', undefined, 'this needs credentials: send Authorization: Bearer TOKEN'],
    ['a token that is wrong', 'Bearer mallory', 'the token in Authorization was refused'],
    ['no token', 'Basic YWxpY2U6', 'the credentials were refused: send Authorization: Bearer TOKEN'],
  ])('with %s is told so', async (_, authorization, detail) => {
    await using server = await httpServed({ silent: silent() })
    const headers = { ...(authorization !== undefined && { authorization }) }
    const { status, body } = await server.http(null).json('GET', '/runs', undefined, headers)
    expect([status, body['detail']]).toEqual([401, detail])
  })

  test('shows an own authenticate its bearer token, as a WebSocket does in HELLO', async () => {
    const authenticate: Authenticate = ({ auth }) => (auth === 'a-key' ? { id: 'alice' } : undefined)
    await using server = await httpServed({ silent: silent() }, { authenticate })
    expect((await server.http('a-key').json('GET', '/runs')).status).toBe(200)
    expect((await server.http('another').json('GET', '/runs')).status).toBe(401)
  })

  test('is told to try again when the check of credentials fails', async () => {
    const authenticate: Authenticate = () => Promise.reject(new Error('the database is down'))
    await using server = await httpServed({ silent: silent() }, { authenticate })
    const answer = await server.http().json('GET', '/runs')
    expect(answer).toMatchObject({ status: 503, body: { code: 'unavailable', retryable: true } })
    expect(JSON.stringify(answer.body)).not.toContain('database')
    expect(server.errors).toHaveLength(1)
  })

  test('of anonymous() is the same principal again if it names its client instance', async () => {
    await using server = await httpServed({ silent: silent() }, { authenticate: anonymous() })
    const first = await server.http(null).json('POST', '/runs', { actor: 'silent' })
    const client = first.headers.get('millrace-client') ?? ''
    expect(client).toMatch(/^[\da-f]{32}$/)
    const path = `/runs/${String(first.body['run'])}`
    expect((await server.http(null).json('GET', path)).status).toBe(404)
    const again = await server.http(null).json('GET', path, undefined, { 'millrace-client': client })
    expect(again.status).toBe(200)
    expect(again.headers.get('millrace-client')).toBeNull()
    const wrong = await server.http(null).json('GET', path, undefined, { 'millrace-client': 'me' })
    expect(wrong).toMatchObject({ status: 400, body: { code: 'bad_request' } })
  })
})

describe('a cookie', () => {
  test('counts with an allowed Origin, and for a page of the same origin', async () => {
    const origins = ['https://app.example']
    await using server = await httpServed({ silent: silent() }, { authenticate: byCookie, origins })
    const http = server.http(null)
    const get = async (headers: Record<string, string>): Promise<number> =>
      (await http.json('GET', '/runs', undefined, { cookie: 'sid=alice', ...headers })).status
    expect(await get({})).toBe(401)
    expect(await get({ 'sec-fetch-site': 'cross-site' })).toBe(401)
    expect(await get({ 'sec-fetch-site': 'same-origin' })).toBe(200)
    expect(await get({ origin: 'https://app.example' })).toBe(200)
    expect(await get({ origin: server.httpUrl })).toBe(200)
    expect(await get({ origin: 'https://app.example.evil.com' })).toBe(403)
    expect(await get({ origin: 'null' })).toBe(403)
  })
})

describe('a page of another origin', () => {
  test('may read answers if it is listed in `origins`, after a preflight', async () => {
    await using server = await httpServed({ silent: silent() }, { origins: ['https://app.example'] })
    const http = server.http()
    const preflight = await server.http(null).request('OPTIONS', '/runs', {
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-origin')).toBe('https://app.example')
    expect(preflight.headers.get('access-control-allow-methods')).toBe('POST, GET, HEAD')
    expect(preflight.headers.get('access-control-allow-headers')).toContain('last-event-id')
    const answer = await http.json('GET', '/runs', undefined, { origin: 'https://app.example' })
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://app.example')
    expect(answer.headers.get('vary')).toContain('Origin')
    const plain = await http.json('GET', '/runs')
    expect(plain.headers.get('access-control-allow-origin')).toBeNull()
  })

  test('is refused if it is not listed, and its preflight too', async () => {
    await using server = await httpServed({ silent: silent() }, { origins: ['https://app.example'] })
    for (const method of ['OPTIONS', 'GET']) {
      const answer = await server.http().request(method, '/runs', { headers: { origin: 'https://evil.example' } })
      expect(answer.status).toBe(403)
      expect(answer.headers.get('access-control-allow-origin')).toBeNull()
    }
  })
})

describe('credentials that expire', () => {
  test('end an event stream, and its run goes on', async () => {
    const clock = handClock()
    const authenticate: Authenticate = () => ({ id: 'alice', expiresAt: clock.wallClock() + 60_000 })
    await using server = await httpServed({ silent: silent() }, { authenticate, runtime: clock })
    await using stream = await server.http().stream('POST', '/runs', { actor: 'silent' })
    await stream.opened()
    clock.advance(60_001)
    const closed = await stream.find(({ event }) => event === 'closed', 'the event `closed`')
    expect(closed.data).toMatchObject({ code: 'unauthenticated' })
    expect(await stream.over).toBe('whole')
    expect(server.server.liveRuns).toBe(1)
  })
})

describe('quotas', () => {
  test('of starts, runs and connections are those of the WebSockets', async () => {
    const limits = { maxRuns: 2, maxConnections: 2, startsPerSec: 1, startBurst: 5 }
    await using server = await httpServed({ silent: silent(), count: counter() }, { limits })
    const http = server.http()
    await using first = await http.stream('POST', '/runs', { actor: 'silent' })
    await using second = await http.stream('POST', '/runs', { actor: 'silent' })
    const { run } = await first.opened()
    await second.opened()
    const third = await http.json('POST', '/runs', { actor: 'silent' })
    expect(third).toMatchObject({ status: 503, body: { code: 'overloaded', retryable: true } })
    const stream = await http.json('GET', `/runs/${run}/events`)
    expect(stream).toMatchObject({ status: 429, body: { code: 'too_many_streams' } })
    await http.json('GET', `/runs/${run}/events`)
    const limited = await http.json('POST', '/runs', { actor: 'silent' })
    expect(limited).toMatchObject({ status: 429, body: { code: 'rate_limited' } })
    expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0)
    // A cancel is no start.
    expect((await http.json('POST', `/runs/${run}/cancel`)).status).toBe(200)
    first.leave()
    await eventually(() => server.server.liveRuns === 1, 'one has ended')
  })

  test('of requests hold per principal', async () => {
    await using server = await httpServed({ silent: silent() }, { limits: { messagesPerSec: 3 } })
    const http = server.http()
    const statuses: number[] = []
    for (let n = 0; n < 6; n++) statuses.push((await http.json('GET', '/runs')).status)
    expect(statuses).toContain(429)
    expect((await server.http('bob').json('GET', '/runs')).status).toBe(200)
  })
})

test('a bearer token of the server is in no record of its log', async () => {
  const records: string[] = []
  const note = (fields: object): void => void records.push(JSON.stringify(fields))
  const logger = { debug: note, info: note, warn: note, error: note }
  const authenticate = bearer({ 'canary-4711': 'alice' })
  await using server = await httpServed(
    { count: counter() },
    { authenticate, logger, http: { eventSource: ['count'] } },
  )
  const http = server.http('canary-4711')
  await http.json('POST', '/runs', { actor: 'count', input: 1 })
  await http.json('POST', '/runs', { actor: 'nobody' })
  await server.http('canary-4711-wrong').json('GET', '/runs')
  const { body } = await http.json('POST', '/tickets', { actor: 'count' })
  const ticket = String(body['ticket'])
  await server.http(null).request('GET', `/actors/count/stream?input=2&ticket=${ticket}`)
  await server.http(null).request('GET', `/actors/count/stream?input=2&ticket=${ticket}`)
  expect(records.length).toBeGreaterThan(3)
  for (const record of records) {
    expect(record).not.toContain('canary-4711')
    expect(record).not.toContain(ticket)
  }
})

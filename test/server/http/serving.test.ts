import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createClient } from '../../../client-sdk/node.ts'
import { dashboard } from '../../../server/dashboard/dashboard.ts'
import { prometheus } from '../../../server/metrics/prometheus.ts'
import { createServer } from '../../../server/server.ts'
import { bearer } from '../../../server/sessions/auth.ts'
import { memory } from '../../../server/transports/memory.ts'
import { HttpClient, rawHttp } from '../../helpers/http-client.ts'
import { httpServed } from '../../helpers/http-served.ts'
import { quiet, testServer } from '../../helpers/server.ts'
import { counted, counter, silent } from '../../helpers/test-actors.ts'
import { onUws, onWs } from '../../helpers/transports.ts'

const options = { authenticate: bearer({ alice: 'alice' }), logger: quiet }

describe('plain HTTP', () => {
  test('is off by default: the port answers 426', async () => {
    await using server = await testServer({ silent: silent() }, {}, onWs)
    const answer = await fetch(`${server.url.replace('ws', 'http')}/runs`)
    expect(answer.status).toBe(426)
  })

  test('and WebSockets share a port and the runs', async () => {
    await using server = await httpServed({ count: counter() })
    const client = createClient(server.url, { token: 'alice' })
    const run = client.start('count', 5)
    const { id } = await run.opened
    await run.result
    await using stream = await server.http().stream('GET', `/runs/${id}/events`)
    await stream.end()
    expect(stream.said).toBe(counted(1, 5))
    await client.close()
  })

  test('has a port of its own for a transport that takes WebSockets only', async () => {
    const server = createServer({ actors: { count: counter() }, ...options, transport: onUws.make(), httpPort: 0 })
    const { httpUrl, url } = await server.listen(0)
    expect(httpUrl).not.toBe(url.replace('ws', 'http'))
    await using stream = await new HttpClient(httpUrl ?? '', 'alice').stream('POST', '/runs', {
      actor: 'count',
      input: 2,
    })
    await stream.end()
    expect(stream.said).toBe('1 2 ')
    await server.close({ drainMs: 0 })
    await expect(fetch(`${httpUrl ?? ''}/runs`)).rejects.toThrow()
  })

  test('is off, and the log says so, for such a transport without a port', async () => {
    const records: object[] = []
    const logger = { ...quiet, warn: (fields: object) => void records.push(fields) }
    const server = createServer({
      actors: { count: counter() },
      ...options,
      logger,
      transport: onUws.make(),
      http: true,
    })
    const bound = await server.listen(0)
    expect(bound).not.toHaveProperty('httpUrl')
    expect(records).toMatchObject([{ event: 'http.off', hint: expect.stringContaining('httpPort') }])
    await server.close({ drainMs: 0 })
  })

  test.each([
    [{ http: 1 }, 'http must be true, false or an object'],
    [{ httpPort: 70_000 }, 'httpPort must be a port'],
    [{ http: false, httpPort: 1 }, 'leave one of them out'],
    [{ http: { eventsource: [] } }, 'did you mean eventSource?'],
    [{ http: { eventSource: ['nobody'] } }, 'unknown actor nobody; known actors: count'],
  ])('refuses the options %j', (wrong, words) => {
    expect(() => createServer({ actors: { count: counter() }, ...options, ...(wrong as object) })).toThrow(words)
  })

  test('is a function from a request to its response, with any transport and a base path', async () => {
    const server = createServer({ actors: { count: counter() }, ...options, transport: memory() })
    const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
      server.fetch(
        new Request(`https://app.example/api/agents${path}`, {
          ...init,
          headers: { authorization: 'Bearer alice', ...(init.headers as Record<string, string>) },
        }),
        { basePath: '/api/agents', remoteAddress: '192.0.2.1' },
      )
    const started = await ask('/runs', {
      method: 'POST',
      body: JSON.stringify({ actor: 'count', input: 3 }),
      headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
    })
    expect(started.status).toBe(200)
    const text = await started.text()
    expect(text).toContain('event: end\n')
    expect(text.match(/"type":"token"/g)).toHaveLength(3)
    expect((await ask('/nothing')).status).toBe(404)
    expect((await server.fetch(new Request('https://app.example/runs'), { basePath: '/api' })).status).toBe(404)
    await server.close({ drainMs: 0 })
  })
})

describe('plain HTTP of an attached server', () => {
  test('takes its own paths below the path of the attach, and leaves all others to the application', async () => {
    const http = createHttpServer((request, response) => response.end(`mine ${request.url}`))
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
    const server = createServer({ actors: { count: counter() }, ...options, http: true })
    server.attach(http, { path: '/agents' })
    // A listener that comes later does not get what is taken either.
    let later = 0
    http.on('request', () => later++)
    const client = new HttpClient(`${url}/agents`, 'alice')
    await using stream = await client.stream('POST', '/runs', { actor: 'count', input: 2 })
    await stream.end()
    expect(stream.said).toBe('1 2 ')
    expect(later).toBe(0)
    for (const path of ['/', '/runs', '/agents', '/agents/', '/agents/other', '/agentsruns'])
      expect(await (await fetch(url + path)).text()).toBe(`mine ${path}`)
    expect(later).toBe(6)
    await server.close({ drainMs: 0 })
    expect(await (await fetch(`${url}/agents/runs`)).text()).toBe('mine /agents/runs')
    http.close()
    http.closeAllConnections()
  })

  test('answers every path where nobody else does', async () => {
    const http = createHttpServer()
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
    const server = createServer({ actors: { count: counter() }, ...options, http: true })
    server.attach(http, { path: '/' })
    expect((await new HttpClient(url, 'alice').json('GET', '/runs')).status).toBe(200)
    expect((await new HttpClient(url, 'alice').json('GET', '/nothing')).status).toBe(404)
    await server.close({ drainMs: 0 })
    http.close()
    http.closeAllConnections()
  })
})

describe('a server that goes away', () => {
  test('starts nothing new over HTTP, ends its streams with the end of their runs, and loses no event', async () => {
    await using server = await httpServed({ count: counter(), silent: silent() })
    const http = server.http()
    await using stream = await http.stream('POST', '/runs', { actor: 'silent' })
    await stream.opened()
    const closed = server.server.close({ drainMs: 50 })
    expect(await stream.end()).toMatchObject({ outcome: 'error', error: { code: 'interrupted', retryable: true } })
    expect(await stream.over).toBe('whole')
    await closed
  })
})

describe('HEAD', () => {
  const http = { dashboard: dashboard(), eventSource: ['count'] } as const

  test('is answered as GET is, without a body, wherever GET has no event stream', async () => {
    await using server = await httpServed({ count: counter() }, { http, metrics: prometheus() })
    const { body } = await server.http().json('POST', '/runs', { actor: 'count', input: 1 })
    const run = String(body['run'])
    for (const [path, token] of [
      ...(['/healthz', '/readyz', '/metrics', '/openapi.json', '/'] as const).map((path) => [path, null] as const),
      ...['/runs', '/runs?limit=1', `/runs/${run}`, '/v1/models', '/v1/models/count', '/dashboard/actors'].map(
        (path) => [path, 'alice'] as const,
      ),
      // What fails, too.
      ['/runs', null] as const,
      ['/runs/none', 'alice'] as const,
      ['/nothing', 'alice'] as const,
    ]) {
      const client = server.http(token)
      const asked = async (method: string) => {
        const answer = await client.request(method, path, { headers: { 'millrace-client': '0'.repeat(32) } })
        return { answer, bytes: (await answer.arrayBuffer()).byteLength }
      }
      const [get, head] = [await asked('GET'), await asked('HEAD')]
      expect(head.answer.status, path).toBe(get.answer.status)
      expect(head.bytes).toBe(0)
      const varying = ['content-length', 'transfer-encoding', 'content-encoding', 'date', 'connection', 'keep-alive']
      const shown = ({ headers }: Response): object =>
        Object.fromEntries([...headers].filter(([name]) => !varying.includes(name)))
      expect(shown(head.answer)).toEqual(shown(get.answer))
    }
    const { headers } = await server.http(null).request('HEAD', '/healthz')
    expect(headers.get('content-length')).toBe(String('{"status":"alive"}'.length))
  })

  test('starts and follows no stream: it is 405 there, and the answer says so', async () => {
    await using server = await httpServed({ count: counter() }, { http })
    const client = server.http()
    const { body } = await client.json('POST', '/runs', { actor: 'count', input: 1 })
    const run = String(body['run'])
    for (const path of [
      `/runs/${run}/events`,
      '/actors/count/stream?input=1',
      '/ai-sdk/count/c/stream',
      `/v1/responses/${run}?stream=true`,
    ]) {
      const { status, headers } = await client.request('HEAD', path)
      expect([status, headers.get('allow')], path).toEqual([405, 'GET'])
    }
    expect((await client.json('GET', '/runs')).body['runs']).toHaveLength(1)
    // Each path of the document is of one of the two kinds.
    const { paths } = (await client.json('GET', '/openapi.json')).body as {
      paths: Record<string, { get?: OperationObject }>
    }
    for (const [path, { get }] of Object.entries(paths)) {
      if (!get) continue
      const { headers } = await client.request('OPTIONS', path.replace(/\{\w+\}/g, 'x'))
      const isStream = get.responses['200']?.content?.['text/event-stream'] !== undefined
      expect(headers.get('allow')?.split(', ').includes('HEAD'), path).toBe(!isStream)
    }
  })

  test('has no body as a function either', async () => {
    await using server = await httpServed({ count: counter() })
    const answer = await server.server.fetch(new Request(`${server.httpUrl}/healthz`, { method: 'HEAD' }))
    expect([answer.status, answer.body]).toEqual([200, null])
    const refused = await server.server.fetch(new Request(`${server.httpUrl}/healthz`, { method: 'POST' }))
    expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
  })
})

describe('the OpenAPI document', () => {
  test('describes every route that is documented, and is generated from what checks the requests', async () => {
    await using server = await httpServed({ count: counter() })
    const { status, body } = await server.http(null).json('GET', '/openapi.json')
    expect(status).toBe(200)
    const paths = body['paths'] as Record<string, Record<string, OperationObject>>
    for (const path of [
      '/actors/{actor}/stream',
      '/ag-ui/{actor}',
      '/ag-ui/{actor}/connect',
      '/ai-sdk/{actor}',
      '/ai-sdk/{actor}/{chat}/stream',
      '/runs',
      '/runs/{run}',
      '/runs/{run}/cancel',
      '/runs/{run}/events',
      '/runs/{run}/input',
      '/runs/{run}/rate',
      '/tickets',
    ])
      expect(paths).toHaveProperty([path])
    const start = paths['/runs']!['post']!
    expect(start.requestBody?.content['application/json']?.schema).toMatchObject({
      type: 'object',
      required: ['actor'],
      additionalProperties: false,
    })
    expect(paths['/runs/{run}/events']!['get']!.parameters.map(({ name }) => name)).toEqual([
      'run',
      'policy',
      'rate',
      'credit',
      'disconnect',
      'after',
      'wait',
    ])
    for (const operations of Object.values(paths)) {
      for (const operation of Object.values(operations)) {
        expect(operation.summary).toMatch(/\.$/)
        expect(operation.responses).toHaveProperty('default')
      }
    }
  })

  test('is true of what the server answers', async () => {
    await using server = await httpServed({ count: counter(), silent: silent() })
    const http = server.http()
    const { body: document } = await http.json('GET', '/openapi.json')
    const paths = document['paths'] as Record<string, Record<string, OperationObject>>
    const run = String((await http.json('POST', '/runs', { actor: 'silent', meta: { a: 1 } })).body['run'])
    await using stream = await http.stream('GET', `/runs/${run}/events`)
    await stream.opened()
    const asked: [method: string, path: string, params: string, body?: unknown][] = [
      ['post', '/runs', '', { actor: 'count', input: 2 }],
      ['get', '/runs', '?limit=1'],
      ['get', '/runs/{run}', ''],
      ['get', '/runs/{run}/events', '?after=live'],
      ['post', '/runs/{run}/input', '', { type: 'message', data: 'x' }],
      ['post', '/runs/{run}/rate', '', { perSec: 5 }],
      ['post', '/tickets', '', { run }],
      ['post', '/runs/{run}/cancel', '', { note: 'enough' }],
      ['get', '/runs/{run}', ''],
      ['get', '/runs/{run}/events', ''],
    ]
    for (const [method, path, query, sent] of asked) {
      const target = `${path.replace('{run}', run)}${query}`
      const answer = await http.json(method.toUpperCase(), target, sent, { accept: 'application/json' })
      const { schema } = paths[path]![method]!.responses[answer.status]?.content?.['application/json'] ?? {}
      expect(schema, `${method} ${path} ${answer.status}`).toBeDefined()
      expect(z.fromJSONSchema(schema as never).safeParse(answer.body).error, `${method} ${path}`).toBeUndefined()
    }
    const problem = await http.json('GET', '/runs/none')
    const { schemas } = document['components'] as { schemas: { Problem: never } }
    expect(z.fromJSONSchema(schemas.Problem).safeParse(problem.body).error).toBeUndefined()
  })
})

test('a request target that is no path is refused', async () => {
  await using server = await httpServed({ silent: silent() })
  const answer = await rawHttp(server.httpUrl, 'GET http://evil.example/runs HTTP/1.1\r\nHost: x\r\n\r\n')
  expect(answer).toMatch(/^HTTP\/1.1 400 /)
})

type OperationObject = {
  summary: string
  parameters: { name: string }[]
  requestBody?: { content: Record<string, { schema: object }> }
  responses: Record<string, { content?: Record<string, { schema: object }> }>
}

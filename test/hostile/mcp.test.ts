import { connect } from 'node:net'
import {
  type CallToolResult,
  Client,
  type InputRequiredResult,
  isInputRequiredResult,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { actor } from '../../server/actors/actor.ts'
import { mcp } from '../../server/mcp/mcp-endpoint.ts'
import { type Bystander, bystander } from '../helpers/bystander.ts'
import { ticker } from '../helpers/bystander-actor.ts'
import { rawHttp } from '../helpers/http-client.ts'
import { type HttpTestServer, httpServed } from '../helpers/http-served.ts'
import { eventually } from '../helpers/server.ts'
import { silent } from '../helpers/test-actors.ts'
import type { WireClient } from '../helpers/wire-client.ts'

const CONNECTIONS = 4
const JSON_RPC = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }

let reports = 0
const actors = {
  ticker: ticker(),
  silent: silent(),
  strict: actor({ input: z.object({ a: z.number() }), ask: ({ a }) => a }),
  careful: actor({
    async ask(_: unknown, { request }) {
      return (await request({ kind: 'confirm' })) === true ? 'yes' : 'no'
    },
  }),
  flood: actor({
    async *stream(_: unknown, { signal }) {
      const message = 'x'.repeat(1_000)
      for (let current = 1; !signal.aborted; current++) {
        reports = current
        yield { type: 'progress' as const, current, message }
      }
    },
  }),
}
let server: HttpTestServer<typeof actors>
let watcher: WireClient
let unharmed: Bystander

beforeAll(async () => {
  const limits = { maxConnections: CONNECTIONS, slowMs: 500 }
  server = await httpServed(actors, { http: { mcp: mcp() }, limits })
  watcher = await server.client({ auth: 'bob' })
  unharmed = await bystander(watcher)
})

afterAll(async () => {
  await unharmed.finish()
  await watcher[Symbol.asyncDispose]()
  expect(server.errors).toEqual([])
  await server[Symbol.asyncDispose]()
})

function request(method: string, params: object = {}, id: number | undefined = 1): string {
  return JSON.stringify({ jsonrpc: '2.0', method, params, ...(id !== undefined && { id }) })
}

function callOf(name: string, more: object = {}): string {
  return request('tools/call', { name, arguments: {}, ...more })
}

/** What a request to the endpoint is answered with, as far as it is an error. */
async function refused(
  body: string,
  headers: Record<string, string> = {},
  token: string | null = 'alice',
): Promise<{ status: number; headers: Headers; error: unknown; id: unknown }> {
  const answer = await server.http(token).json('POST', '/mcp', body, { ...JSON_RPC, ...headers })
  const { jsonrpc, error, id } = answer.body
  expect(jsonrpc).toBe('2.0')
  return { status: answer.status, headers: answer.headers, error, id }
}

describe('a request to the MCP endpoint', () => {
  test.each([null, 'mallory'])('with the token %s is answered with 401 and how to authenticate', async (token) => {
    for (const body of [request('initialize'), request('tools/list'), callOf('silent')]) {
      const { status, headers, error } = await refused(body, {}, token)
      expect({ status, error }).toMatchObject({ status: 401, error: { data: { code: 'unauthenticated' } } })
      expect(headers.get('www-authenticate')).toBe('Bearer')
    }
    expect((await server.http(token).request('POST', '/mcp?token=alice', { body: request('tools/list') })).status).toBe(
      401,
    )
  })

  test('of a page of another origin, or under a name that is none of this host, is refused', async () => {
    for (const headers of [{ origin: 'https://evil.example' }, { origin: 'null' }]) {
      const answer = await server.http().json('POST', '/mcp', request('tools/list'), { ...JSON_RPC, ...headers })
      expect(answer).toMatchObject({ status: 403, body: { error: { data: { code: 'forbidden' } } } })
      expect(answer.headers.get('access-control-allow-origin')).toBeNull()
    }
    const body = request('tools/list')
    const head = [
      'POST /mcp HTTP/1.1',
      'Host: rebound.example',
      'Authorization: Bearer alice',
      'Content-Type: application/json',
      'Accept: application/json, text/event-stream',
      `Content-Length: ${body.length}`,
      'Connection: close',
    ]
    expect(await rawHttp(server.httpUrl, `${head.join('\r\n')}\r\n\r\n${body}`)).toMatch(/^HTTP\/1.1 403 /)
  })

  test.each([
    ['that is no JSON', '{', {}, 400],
    ['that is empty', '', {}, 400],
    ['with text, as any page may send', request('tools/list'), { 'content-type': 'text/plain' }, 415],
    ['that is compressed', request('tools/list'), { 'content-encoding': 'gzip' }, 415],
    ['that is too large', callOf('silent', { arguments: { text: 'x'.repeat(300_000) } }), {}, 413],
    ['that is too deep', `[${'['.repeat(5_000)}${']'.repeat(5_000)}]`, {}, 400],
    ['with too many values', callOf('silent', { arguments: { list: Array(20_000).fill(1) } }), {}, 400],
    ['that is no message', '{"hello":"there"}', {}, 400],
    ['that is null', 'null', {}, 400],
    ['of a session with a name that was never given', request('tools/list'), { 'mcp-session-id': '../x' }, 400],
  ])('with a body %s is answered with an error', async (_, body, headers, status) => {
    expect(await refused(body, headers)).toMatchObject({ status, error: { message: expect.any(String) } })
    expect(server.server.liveRuns).toBe(1)
  })

  test.each(['GET', 'PUT', 'PATCH'])('with the method %s is refused', async (method) => {
    expect((await server.http().request(method, '/mcp')).status).toBe(405)
  })
})

describe('a call over the MCP endpoint', () => {
  test('counts as a connection of its principal: more than `maxConnections` are refused', async () => {
    const open = new AbortController()
    const calls = Array.from({ length: CONNECTIONS }, () =>
      fetch(`${server.httpUrl}/mcp`, {
        method: 'POST',
        body: callOf('silent'),
        headers: { ...JSON_RPC, authorization: 'Bearer alice' },
        signal: open.signal,
      }),
    )
    for (const call of calls) call.catch(() => {})
    await eventually(() => server.server.liveRuns === CONNECTIONS + 1, 'the runs of all calls')
    const { status, error } = await refused(callOf('silent'))
    expect({ status, error }).toMatchObject({ status: 429, error: { data: { code: 'too_many_streams' } } })
    open.abort()
    await eventually(() => server.server.liveRuns === 1, 'the end of their runs')
  })

  test('gives its connection back once, however it ends: there are never more than `maxConnections`', async () => {
    const headers = { ...JSON_RPC, authorization: 'Bearer alice' }
    const call = (signal: AbortSignal): void =>
      void fetch(`${server.httpUrl}/mcp`, { method: 'POST', body: callOf('silent'), headers, signal }).catch(() => {})
    const aborted = new AbortController()
    for (let n = 0; n < CONNECTIONS; n++) call(aborted.signal)
    await eventually(() => server.server.liveRuns === CONNECTIONS + 1, 'the runs of all calls')
    aborted.abort()
    await eventually(() => server.server.liveRuns === 1, 'the end of their runs')
    const open = new AbortController()
    for (let n = 0; n < CONNECTIONS; n++) call(open.signal)
    await eventually(() => server.server.liveRuns === CONNECTIONS + 1, 'the runs of all calls')
    expect(await refused(callOf('silent'))).toMatchObject({ status: 429 })
    open.abort()
    await eventually(() => server.server.liveRuns === 1, 'the end of their runs')
  })

  test('that is refused and cancelled in one message harms nobody', async () => {
    const session = { 'mcp-session-id': 'a'.repeat(32) }
    const call = (id: number): string => request('tools/call', { name: 'strict', arguments: { a: 'x' } }, id)
    const cancel = (requestId: number): string => request('notifications/cancelled', { requestId }, undefined)
    const headers = { ...JSON_RPC, ...session }
    for (let id = 1; id <= 3; id++)
      await server.http().request('POST', '/mcp', { body: `[${call(id)},${cancel(id)}]`, headers })
    expect((await server.http().request('GET', '/runs')).status).toBe(200)
    // A rejection that nobody handles would have ended the process: it fails this run of the tests.
  })

  test('goes on without its client where `authorize` forbids the cancel, and harms nobody', async () => {
    const authorize = (_: unknown, action: string): boolean => action !== 'cancel'
    await using own = await httpServed(actors, { http: { mcp: mcp() }, authorize })
    const open = new AbortController()
    const headers = { ...JSON_RPC, authorization: 'Bearer alice' }
    const call = fetch(`${own.httpUrl}/mcp`, { method: 'POST', body: callOf('silent'), headers, signal: open.signal })
    call.catch(() => {})
    await eventually(() => own.server.liveRuns === 1, 'the run of the call')
    open.abort()
    await expect(call).rejects.toThrow(/abort/)
    expect(await own.http().request('GET', '/runs')).toMatchObject({ status: 200 })
    expect(own.server.liveRuns).toBe(1)
  })

  test('is not stopped by a cancel of another principal, nor by one that names another session', async () => {
    const session = { 'mcp-session-id': 'a'.repeat(32) }
    const open = new AbortController()
    const call = server.http().request('POST', '/mcp', { body: callOf('silent'), headers: { ...JSON_RPC, ...session } })
    call.catch(() => {})
    await eventually(() => server.server.liveRuns === 2, 'the run of the call')
    const cancel = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } })
    const sent = async (token: string, headers: Record<string, string>): Promise<number> =>
      (await server.http(token).request('POST', '/mcp', { body: cancel, headers: { ...JSON_RPC, ...headers } })).status
    expect(await sent('eve', session)).toBe(202)
    expect(await sent('alice', { 'mcp-session-id': 'b'.repeat(32) })).toBe(202)
    expect(await sent('alice', {})).toBe(202)
    expect(server.server.liveRuns).toBe(2)
    expect(await sent('alice', session)).toBe(202)
    await eventually(() => server.server.liveRuns === 1, 'the end of the run')
    open.abort()
  })

  test('has no more than 64 messages of progress ahead of what its client has read', async () => {
    const body = callOf('flood', { _meta: { progressToken: 1 } })
    const headers = { ...JSON_RPC, authorization: 'Bearer alice', host: 'localhost' }
    await using patient = await httpServed(actors, { http: { mcp: mcp() } })
    const answer = await patient.server.fetch(new Request('http://localhost/mcp', { method: 'POST', body, headers }))
    await eventually(() => reports > 1_000, 'a flood of progress')
    const [run] = (await patient.http().json('GET', '/runs')).body['runs'] as { run: string }[]
    await patient.http().json('POST', `/runs/${run?.run}/cancel`, {})
    const text = await answer.text()
    expect(text.match(/notifications\/progress/g)?.length).toBeLessThanOrEqual(66)
    expect(text).toContain('"isError":true')
  })

  test('whose client reads nothing for `slowMs` ends, and its run with it', { timeout: 40_000 }, async () => {
    const body = callOf('flood', { _meta: { progressToken: 1 } })
    const head = [
      'POST /mcp HTTP/1.1',
      'Host: 127.0.0.1',
      'Authorization: Bearer alice',
      'Content-Type: application/json',
      'Accept: application/json, text/event-stream',
      `Content-Length: ${body.length}`,
    ]
    const socket = connect({ port: Number(new URL(server.httpUrl).port), host: '127.0.0.1' })
    socket.on('error', () => {})
    socket.pause()
    socket.write(`${head.join('\r\n')}\r\n\r\n${body}`)
    await eventually(() => server.server.liveRuns === 2, 'the run of the call')
    // It takes as long as the buffers of TCP take to fill.
    await eventually(() => server.server.liveRuns === 1, 'the end of the run', 30_000)
    socket.destroy()
  })
})

describe('a state of a call that a client made up or stole', () => {
  /** A client of the newer protocol that fills in forms itself. */
  async function client(token: string): Promise<Client> {
    const mcp = new Client(
      { name: 'test', version: '1' },
      {
        versionNegotiation: { mode: 'auto' },
        capabilities: { elicitation: { form: {} } },
        inputRequired: { autoFulfill: false },
      },
    )
    const requestInit = { headers: { authorization: `Bearer ${token}` } }
    await mcp.connect(new StreamableHTTPClientTransport(new URL(`${server.httpUrl}/mcp`), { requestInit }))
    return mcp
  }

  /** Calls the actor that asks, the second time with the form filled in. */
  async function calls(mcp: Client, state?: string): Promise<{ text: string; requestState: string | undefined }> {
    const retry = state === undefined ? {} : { requestState: state, inputResponses: { question: ACCEPT } }
    const params = { name: 'careful', arguments: {}, ...retry }
    const answer: CallToolResult | InputRequiredResult = await mcp.callTool(params, { allowInputRequired: true })
    if (isInputRequiredResult(answer)) return { text: '', requestState: answer.requestState }
    const [first] = answer.content
    return { text: first?.type === 'text' ? first.text : '', requestState: undefined }
  }

  const ACCEPT = { action: 'accept', content: {} } as const

  test('answers no run of another principal, which still waits for its own', async () => {
    const [alice, eve] = [await client('alice'), await client('eve')]
    const { requestState } = await calls(alice)
    expect((await calls(eve, requestState)).text).toContain('the answer was refused: this principal may not answer')
    expect((await calls(alice, requestState)).text).toBe('yes')
    for (const mcp of [alice, eve]) await mcp.close()
  })

  test.each(['', '{', '[]', '{"run":1}', '{"run":"r","request":"q","seq":-1,"round":1}', 'x'.repeat(10_000)])(
    'is refused as %j, and starts no run',
    async (state) => {
      const mcp = await client('alice')
      const before = server.server.liveRuns
      expect((await calls(mcp, state)).text).toMatch(/^invalid_input: requestState is not what this tool gave/)
      expect(server.server.liveRuns).toBe(before)
      await mcp.close()
    },
  )

  test('is not found where it names no run, and does nothing where its question is another', async () => {
    const mcp = await client('alice')
    const none = JSON.stringify({ run: 'r_none', request: 'q1', seq: 1, round: 1 })
    expect((await calls(mcp, none)).text).toMatch(/^not_found: /)
    const { requestState } = await calls(mcp)
    const { requestState: again } = await calls(
      mcp,
      JSON.stringify({ ...(JSON.parse(requestState!) as object), request: 'q_other' }),
    )
    expect((await calls(mcp, again)).text).toBe('yes')
    await mcp.close()
  })
})

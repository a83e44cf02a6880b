import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { actor } from '../../../server/actors/actor.ts'
import type { Authorize } from '../../../server/actors/authorize.ts'
import { mcp } from '../../../server/mcp/mcp-endpoint.ts'
import type { ServerOptions } from '../../../server/server-options.ts'
import { anonymous } from '../../../server/sessions/auth.ts'
import { type HttpTestServer, httpServed } from '../../helpers/http-served.ts'
import { eventually } from '../../helpers/server.ts'
import { aborted } from '../../helpers/test-actors.ts'

const { begun, stopped } = { begun: new Set<string>(), stopped: new Set<string>() }
const actors = {
  add: actor({
    input: z.object({ a: z.number(), b: z.number() }),
    ask: ({ a, b }) => ({ sum: a + b }),
  }),
  pages: actor({
    async *stream() {
      for (let current = 1; current <= 3; current++) yield { type: 'progress' as const, current, total: 3 }
      yield 'three pages'
    },
  }),
  forever: actor({
    interactive: true,
    async *stream(_: unknown, { signal, inputs, run }) {
      begun.add(run.id)
      signal.addEventListener('abort', () => stopped.add(run.id))
      yield 'waiting. '
      for await (const { data } of inputs) {
        yield `got ${String(data)}. `
        if (data === 'end') return
      }
    },
  }),
  careful: actor({
    async *stream(_: unknown, { request }) {
      yield 'May I? '
      yield (await request({ kind: 'confirm', prompt: 'Go?' })) ? 'yes' : 'no'
    },
  }),
  asksFirst: actor({
    async *stream(_: unknown, { request, run, signal }) {
      await request({ kind: 'confirm' })
      begun.add(run.id)
      await aborted(signal)
      yield ''
    },
  }),
  deaf: actor({
    async *stream(_: unknown, { signal }) {
      await aborted(signal)
      yield ''
    },
  }),
}

type Served = HttpTestServer<typeof actors>

async function served(options: Partial<ServerOptions<typeof actors>> = {}): Promise<Served> {
  return await httpServed(actors, { http: { mcp: mcp({ name: 'tests', version: '2' }) }, ...options })
}

const MODES = ['auto', 'legacy'] as const
type Mode = (typeof MODES)[number]

type ClientOptions = NonNullable<ConstructorParameters<typeof Client>[1]>

/** The official client, over HTTP. @param token null: it sends none. */
async function connected(
  { httpUrl }: Served,
  mode: Mode,
  token: string | null = 'alice',
  clientOptions: ClientOptions = {},
) {
  const transport = new StreamableHTTPClientTransport(new URL(`${httpUrl}/mcp`), {
    requestInit: { headers: token === null ? {} : { authorization: `Bearer ${token}` } },
  })
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode }, ...clientOptions })
  await client.connect(transport)
  const call = async (name: string, args: Record<string, unknown> = {}, options = {}) => {
    const result = await client.callTool({ name, arguments: args }, options)
    const [first] = result.content
    return { ...result, text: first?.type === 'text' ? first.text : undefined }
  }
  return { client, call, transport, [Symbol.asyncDispose]: () => client.close() }
}

describe.each(MODES)('over HTTP, an MCP client of mode %s', (mode) => {
  test('has a tool for each actor, with its schema, and four for runs', async () => {
    await using server = await served()
    await using mcp = await connected(server, mode)
    expect(mcp.client.getServerVersion()).toMatchObject({ name: 'tests', version: '2' })
    const { tools } = await mcp.client.listTools()
    expect(tools.map(({ name }) => name)).toEqual([
      ...['add', 'pages', 'forever', 'careful', 'asksFirst', 'deaf'],
      ...['start_run', 'attach_run', 'steer_run', 'cancel_run'],
    ])
    expect(tools[0]).toMatchObject({ inputSchema: { type: 'object', required: ['a', 'b'] } })
  })

  test('runs an actor to its end, with its progress and its result, or its text', async () => {
    await using server = await served()
    await using mcp = await connected(server, mode)
    expect(await mcp.call('add', { a: 1, b: 2 })).toMatchObject({ structuredContent: { sum: 3 }, text: '{"sum":3}' })
    const progress: unknown[] = []
    const { text } = await mcp.call('pages', {}, { onprogress: (one: unknown) => progress.push(one) })
    expect(text).toBe('three pages')
    expect(progress).toEqual([1, 2, 3].map((n) => ({ progress: n, total: 3 })))
    const { isError, text: why } = await mcp.call('add', { a: 'x' })
    expect({ isError, why }).toMatchObject({ isError: true, why: expect.stringMatching(/^invalid_input: /) })
  })

  test('stops the run of a call that it cancels, and of one whose connection it loses', async () => {
    await using server = await served()
    await using mcp = await connected(server, mode)
    const controller = new AbortController()
    const before = begun.size
    const call = mcp.call('forever', {}, { signal: controller.signal })
    call.catch(() => {})
    await eventually(() => begun.size > before, 'the beginning of the run')
    const run = [...begun].at(-1)!
    controller.abort('enough')
    await expect(call).rejects.toThrow()
    await eventually(() => stopped.has(run), 'the stop of the run')
    await eventually(() => server.server.liveRuns === 0, 'the end of the run')
    expect(await mcp.call('add', { a: 2, b: 2 })).toMatchObject({ text: '{"sum":4}' })

    const lost = mcp.call('forever')
    lost.catch(() => {})
    await eventually(() => begun.size > before + 1, 'the beginning of the second run')
    await mcp.client.close()
    await eventually(() => server.server.liveRuns === 0, 'the end of the second run')
    await expect(lost).rejects.toThrow()
  })

  test('starts a run that outlives the call, reads on in it, steers it, and shares it with every other client', async () => {
    await using server = await served()
    await using mcp = await connected(server, mode)
    const { structuredContent } = await mcp.call('start_run', { actor: 'forever' })
    const { run } = structuredContent as { run: string }
    const first = await mcp.call('attach_run', { run, waitMs: 200 })
    expect(first.structuredContent).toMatchObject({ run, status: 'running', text: 'waiting. ' })
    await mcp.call('steer_run', { run, message: 'one' })
    const input = { type: 'message', data: 'two' }
    expect(await server.http().json('POST', `/runs/${run}/input`, input)).toMatchObject({ status: 200 })
    await mcp.call('steer_run', { run, message: 'end' })
    const { seq: after } = first.structuredContent as { seq: number }
    const last = await mcp.call('attach_run', { run, after })
    expect(last.structuredContent).toMatchObject({ status: 'done', text: 'got one. got two. got end. ' })
    const late = await mcp.call('steer_run', { run, message: 'too late' })
    expect(late).toMatchObject({ isError: true, text: expect.stringMatching(/^not_found: /) })
  })

  test('gets the question of a run, answers it, and cancels a run by its id, with its receipt', async () => {
    await using server = await served()
    await using mcp = await connected(server, mode)
    const asked = await mcp.call('careful')
    expect(asked.structuredContent).toMatchObject({ status: 'waiting', text: 'May I? ', waiting: { prompt: 'Go?' } })
    const { run, seq, waiting } = asked.structuredContent as { run: string; seq: number; waiting: { request: string } }
    await mcp.call('steer_run', { run, request: waiting.request, answer: true })
    const end = await mcp.call('attach_run', { run, after: seq })
    expect(end.structuredContent).toMatchObject({ status: 'done', text: 'yes' })

    const { structuredContent } = await mcp.call('start_run', { actor: 'deaf' })
    const second = (structuredContent as { run: string }).run
    const receipt = { outcome: 'cancelled', by: 'client', settled: true, note: 'not needed', confirmed: true }
    const cancelled = await mcp.call('cancel_run', { run: second, note: 'not needed' })
    expect(cancelled.structuredContent).toMatchObject({ run: second, ...receipt })
  })

  test('sees and starts only the actors that it may, and finds only its own runs', async () => {
    const authorize: Authorize = (principal, action, target) =>
      action === 'start'
        ? principal.id === 'alice' || ('actor' in target && target.actor === 'add')
        : 'owner' in target && target.owner.id === principal.id
    await using server = await served({ authorize })
    await using alice = await connected(server, mode)
    await using bob = await connected(server, mode, 'bob')
    const { tools } = await bob.client.listTools()
    expect(tools.map(({ name }) => name).slice(0, 2)).toEqual(['add', 'start_run'])
    const { structuredContent } = await alice.call('start_run', { actor: 'deaf' })
    const { run } = structuredContent as { run: string }
    for (const [name, args, text] of [
      ['deaf', {}, /^forbidden: /],
      ['start_run', { actor: 'deaf' }, /^forbidden: /],
      ['attach_run', { run }, /^not_found: /],
      ['steer_run', { run, message: 'x' }, /^not_found: /],
      ['cancel_run', { run }, /^not_found: /],
    ] as const) {
      const result = await bob.call(name, args)
      expect(result.isError, name).toBe(true)
      expect(result.text).toMatch(text)
    }
    expect(server.server.liveRuns).toBe(1)
  })
})

const forms: ClientOptions = { capabilities: { elicitation: {} } }

describe('over HTTP, a client with a user who answers questions', () => {
  test('is asked what a run asks, in the newer protocol, and the answer is that of the run', async () => {
    await using server = await served()
    await using mcp = await connected(server, 'auto', 'alice', forms)
    const asked: unknown[] = []
    mcp.client.setRequestHandler('elicitation/create', ({ params }) => {
      asked.push(params.message)
      return { action: 'accept', content: {} }
    })
    expect((await mcp.call('careful')).text).toBe('May I? yes')
    expect(asked).toEqual(['Go?'])
    expect(server.server.liveRuns).toBe(0)
  })

  test('learns in the older protocol that its user was not asked, with the question and the run', async () => {
    await using server = await served()
    await using mcp = await connected(server, 'legacy', 'alice', forms)
    mcp.client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: {} }))
    expect((await mcp.call('careful')).structuredContent).toMatchObject({
      status: 'waiting',
      waiting: { prompt: 'Go?' },
      why: expect.stringMatching(/^the client takes no questions/),
    })
  })

  test('stops the run with the call that brought the answer', async () => {
    await using server = await served()
    await using mcp = await connected(server, 'auto', 'alice', forms)
    mcp.client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: {} }))
    const controller = new AbortController()
    const [before, call] = [begun.size, mcp.call('asksFirst', {}, { signal: controller.signal })]
    call.catch(() => {})
    await eventually(() => begun.size > before, 'the answer of the user')
    controller.abort('enough')
    await expect(call).rejects.toThrow()
    await eventually(() => server.server.liveRuns === 0, 'the end of the run')
  })

  test('does not undo what another client of the run has answered meanwhile', async () => {
    await using server = await served()
    await using mcp = await connected(server, 'auto', 'alice', forms)
    mcp.client.setRequestHandler('elicitation/create', async () => {
      const [run] = (await server.http().json('GET', '/runs')).body['runs'] as { run: string }[]
      const { pending } = (await server.http().json('GET', `/runs/${run!.run}`)).body as {
        pending: { request: string }[]
      }
      const input = { type: 'answer', data: { request: pending[0]!.request, value: false } }
      expect((await server.http().json('POST', `/runs/${run!.run}/input`, input)).status).toBe(200)
      return { action: 'accept', content: {} }
    })
    expect((await mcp.call('careful')).text).toBe('May I? no')
  })
})

test('a session of the older protocol is one client of anonymous(), and its DELETE stops what it still calls', async () => {
  await using server = await served({ authenticate: anonymous() })
  await using mcp = await connected(server, 'legacy', null)
  await using other = await connected(server, 'legacy', null)
  const { structuredContent } = await mcp.call('start_run', { actor: 'deaf' })
  const args = { run: (structuredContent as { run: string }).run, waitMs: 0 }
  expect((await mcp.call('attach_run', args)).structuredContent).toMatchObject({ status: 'running' })
  expect((await other.call('attach_run', args)).text).toMatch(/^not_found: /)
  const call = mcp.call('forever')
  call.catch(() => {})
  await eventually(() => server.server.liveRuns === 2, 'the run of the call')
  await other.transport.terminateSession()
  expect(server.server.liveRuns).toBe(2)
  await mcp.transport.terminateSession()
  await eventually(() => server.server.liveRuns === 1, 'the end of the run of the call')
})

test('a server without the option has nothing at /mcp, and a wrong option is refused with what to write', async () => {
  await using server = await httpServed(actors)
  expect((await server.http().json('POST', '/mcp', {})).status).toBe(404)
  expect(() => mcp({ nmae: 'x' } as object)).toThrow(/name/)
  await expect(httpServed(actors, { http: { mcp: {} as never } })).rejects.toThrow(/http\.mcp must be what mcp\(\)/)
})

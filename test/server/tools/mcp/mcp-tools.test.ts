import { createServer } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type McpServer, type McpTools, mcpTools } from '../../../../server/tools/mcp/mcp-tools.ts'
import { type ServedAgent, servedAgent, Watched } from '../../../helpers/agent-run.ts'
import { Child } from '../../../helpers/child-process.ts'
import { FakeMcpServer, type McpServerKind } from '../../../helpers/mcp-server.ts'
import { calls, says, scriptedModel } from '../../../helpers/scripted-model.ts'

/** One without a state that matters, for tests that change nothing in it. */
let shared: FakeMcpServer
beforeAll(async () => {
  shared = await FakeMcpServer.start('stateless')
})
afterAll(() => shared[Symbol.asyncDispose]())

/** An agent that calls these tools in one turn. */
function callers(tools: McpTools, ...wanted: { name: string; args?: object }[]): Promise<ServedAgent> {
  const turn = calls(...wanted.map(({ name, args = {} }, at) => ({ call: `c${at + 1}`, name, args })))
  return servedAgent({ model: scriptedModel(turn, says('ok'), turn, says('ok')), tools })
}

async function run(served: ServedAgent): Promise<Watched> {
  const watched = new Watched(served.client.start('agent', 'go'))
  await watched.over
  return watched
}

/** The tools of a fake server, and what becomes of calling some of them. */
async function results(
  fake: FakeMcpServer,
  options: Partial<McpServer>,
  ...wanted: { name: string; args?: object }[]
): Promise<object[]> {
  const tools = await mcpTools({ fake: { ...fake.options, ...options } })
  await using served = await callers(tools, ...wanted)
  const all = (await run(served)).all('tool.result')
  return wanted.map((_, at) => all.find(({ call }) => call === `c${at + 1}`)!)
}

describe('the output of a tool of an MCP server', () => {
  test('is its structured content or its texts, with a note in place of a picture', async () => {
    const [weather, picture] = await results(shared, {}, { name: 'fake_weather' }, { name: 'fake_picture' })
    expect(weather).toMatchObject({ outcome: 'ok', output: { celsius: 21 } })
    expect(picture).toMatchObject({ outcome: 'ok', output: 'a dot\n[image: image/png, 9 bytes, not shown]' })
  })

  test('is an error where it does not fit the schema that the server promised', async () => {
    const [lies] = await results(shared, {}, { name: 'fake_lies' })
    expect(lies).toMatchObject({
      outcome: 'error',
      error: expect.stringMatching(/^its output does not fit its schema: .*celsius/) as string,
    })
  })

  test('is shown to readers as the configuration says', async () => {
    const redact = (tool: string, output: unknown) => `${tool}: ${Object.keys(output as object).join()}`
    const [weather] = await results(shared, { redact }, { name: 'fake_weather' })
    expect(weather).toMatchObject({ outcome: 'ok', output: 'weather: celsius' })
  })

  test('is cut at the configured size', async () => {
    const long = { name: 'fake_long', args: { bytes: 5_000 } }
    const [result] = await results(shared, { maxOutputBytes: 100 }, long)
    expect(result).toMatchObject({
      outcome: 'ok',
      truncated: true,
      output: expect.stringMatching(/^x{100}\n\[cut off/),
    })
  })

  test.each(['stdio', 'stateless'] as McpServerKind[])(
    'fails the call when a message of the server is above 10 MiB, and the next call works (%s)',
    async (kind) => {
      await using fake = await FakeMcpServer.start(kind)
      const tools = await mcpTools({ fake: fake.options })
      const model = scriptedModel(
        calls({ call: 'c1', name: 'fake_long', args: { bytes: 12_000_000 } }),
        calls({ call: 'c2', name: 'fake_echo', args: { text: 'fine' } }),
        says('ok'),
      )
      await using served = await servedAgent({ model, tools })
      expect((await run(served)).all('tool.result')).toMatchObject([
        { outcome: 'error', error: expect.stringContaining('the MCP server fake') },
        { outcome: 'ok', output: 'fine' },
      ])
    },
  )

  test('is an error in the words of the server when its call fails there', async () => {
    await using fake = await FakeMcpServer.start('stdio')
    const [fails, throws, invalid] = await results(
      fake,
      {},
      { name: 'fake_fails' },
      { name: 'fake_throws' },
      { name: 'fake_echo', args: { text: 7 } },
    )
    expect(fails).toMatchObject({ outcome: 'error', error: 'no such city' })
    expect(throws).toMatchObject({ outcome: 'error', error: 'out of order' })
    expect(invalid).toMatchObject({ outcome: 'error', error: expect.stringContaining('text') })
  })
})

describe('a question of an MCP server', () => {
  const ask = { name: 'fake_ask' }

  test.each(['stdio', 'stateful', 'stateless'] as McpServerKind[])(
    'is asked of the people of the run, and their answer goes to the server (%s)',
    async (kind) => {
      await using fake = await FakeMcpServer.start(kind)
      await using served = await callers(await mcpTools({ fake: fake.options }), ask)
      const watched = new Watched(served.client.start('agent', 'go'))
      const request = await watched.first('request')
      expect(request).toMatchObject({ kind: 'form', call: 'c1', prompt: 'Which city?' })
      expect(request.schema).toMatchObject({ type: 'object', properties: { city: { type: 'string' } } })
      await watched.run.send('answer', { request: request.id, value: { city: 'Oslo' } })
      await watched.over
      expect(watched.all('tool.result')).toMatchObject([{ outcome: 'ok', output: 'it is in Oslo' }])
    },
  )

  test.each([
    ['answer', { value: null }],
    ['approve', { call: 'c1', ok: false }],
  ])('is declined by an input of type %s that says no', async (type, data) => {
    await using served = await callers(await mcpTools({ fake: shared.options }), ask)
    const watched = new Watched(served.client.start('agent', 'go'))
    const { id } = await watched.first('request')
    await watched.run.send(type, type === 'answer' ? { request: id, ...data } : data)
    await watched.over
    expect(watched.all('tool.result')).toMatchObject([{ output: '{"action":"decline"}' }])
  })

  test('goes to the run that asked when two runs wait, and to nobody where the protocol does not say which', async () => {
    for (const [kind, requests] of [
      ['stateless', 2],
      ['stateful', 0],
    ] as const) {
      await using fake = await FakeMcpServer.start(kind)
      const model = scriptedModel(
        // Both runs call the slow tool; the second asks while the call of the first is open.
        calls({ call: 'c1', name: 'fake_slow', args: {} }),
        calls({ call: 'c2', name: 'fake_ask', args: {} }),
        says('ok'),
      )
      await using served = await servedAgent({ model, tools: await mcpTools({ fake: fake.options }) })
      const first = new Watched(served.client.start('agent', 'go'))
      await fake.said('called')
      const second = new Watched(served.another(served.url, 'bob').start('agent', 'go'))
      if (requests > 0) {
        const { id } = await second.first('request')
        await second.run.send('answer', { request: id, value: { city: 'Rome' } })
      }
      const { output } = await second.first('tool.result')
      expect(output).toBe(requests > 0 ? 'it is in Rome' : '{"action":"cancel"}')
      expect(first.all('request')).toEqual([])
      fake.tell({ type: 'finish' })
      await Promise.all([first.over, second.over])
    }
  })
})

describe('the tools of MCP servers', () => {
  test('bear the name of their server, so that two servers may have tools of one name', async () => {
    await using tools = await mcpTools({
      one: { ...shared.options, tools: ['echo'] },
      other: { ...shared.options, tools: ['echo', 'weather'] },
    })
    expect(Object.keys(tools).sort()).toEqual(['one_echo', 'other_echo', 'other_weather'])
    expect(tools['one_echo']).toMatchObject({
      description: 'Repeats a text',
      parameters: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] },
    })
  })

  test('of one name without prefixes are refused, as are two servers whose prefixes make the same name', async () => {
    const bare = { ...shared.options, tools: ['echo'], prefix: '' }
    await expect(mcpTools({ a: bare, b: bare })).rejects.toMatchObject({
      code: 'bad_request',
      message: expect.stringMatching(/^two MCP servers have a tool named echo; one is [ab]: give it another prefix$/),
    })
  })

  test.each([
    [{ maxTools: 3 }, 'has 11 tools: name the ones to take in `tools`, or raise maxTools (3)'],
    [{ maxSchemaBytes: 40 }, 'has a tool "echo" with a schema of'],
    [{ maxDescription: 5 }, 'has a tool "echo" with a description of 14 characters'],
    [{ tools: ['nothing'] }, 'has no tool "nothing", which `tools` names'],
    [{ prefix: 'a'.repeat(70) }, 'has a tool whose name is too long with its prefix'],
  ])('are refused with a reason when %j is exceeded', async (options, message) => {
    await expect(mcpTools({ fake: { ...shared.options, ...options } })).rejects.toMatchObject({
      code: 'bad_request',
      message: expect.stringContaining(`the MCP server fake ${message}`),
    })
  })

  test.each(['stdio', 'stateful', 'stateless'] as McpServerKind[])(
    'change with the list of their server, from the next run on (%s)',
    async (kind) => {
      await using fake = await FakeMcpServer.start(kind)
      const tools = await mcpTools({ fake: fake.options })
      await using served = await callers(tools, { name: 'fake_extra' })
      expect((await run(served)).all('tool.result')).toMatchObject([
        { outcome: 'error', error: expect.stringContaining('unknown tool fake_extra') },
      ])
      fake.tell({ type: 'addTool', name: 'extra', description: 'New' })
      await expect.poll(() => tools['fake_extra']?.description).toBe('New')
      expect((await run(served)).all('tool.result')).toMatchObject([{ outcome: 'ok', output: 'extra works' }])
    },
  )

  test('keep the last list, and report the reason, when a changed list is refused', async () => {
    await using fake = await FakeMcpServer.start('stateless')
    const errors: string[] = []
    await using tools = await mcpTools(
      { fake: { ...fake.options, maxTools: 11 } },
      { onError: ({ message }) => errors.push(message) },
    )
    fake.tell({ type: 'addTool', name: 'extra', description: 'One too many' })
    await expect.poll(() => errors).toEqual([expect.stringContaining('has 12 tools')])
    expect(Object.keys(tools)).toHaveLength(11)
  })

  test('ask for approval as configured, by the own name of the tool', async () => {
    const needsApproval = (tool: string) => tool === 'weather'
    const tools = await mcpTools({ fake: { ...shared.options, needsApproval } })
    await using served = await callers(tools, { name: 'fake_weather' }, { name: 'fake_picture' })
    const watched = new Watched(served.client.start('agent', 'go'))
    const request = await watched.first('request')
    expect(request).toMatchObject({ kind: 'approve', call: 'c1' })
    await watched.run.send('approve', { call: 'c1', ok: false })
    await watched.over
    expect(watched.all('request')).toHaveLength(1)
  })
})

describe('a program that is an MCP server', () => {
  test('gets PATH and the variables that are named, and no other of this process', async () => {
    await using fake = await FakeMcpServer.start('stdio')
    process.env['MILLRACE_CANARY'] = 'secret'
    try {
      const [result] = await results(fake, {}, { name: 'fake_environment' })
      expect(result).toMatchObject({ output: 'NAMED PATH' })
    } finally {
      delete process.env['MILLRACE_CANARY']
    }
  })

  test('ends when the server that has its tools closes, and starts again for who still uses them', async () => {
    await using fake = await FakeMcpServer.start('stdio')
    const tools = await mcpTools({ fake: fake.options })
    await using other = await callers(tools, { name: 'fake_echo', args: { text: 'again' } })
    {
      await using _served = await callers(tools, { name: 'fake_weather' })
    }
    await fake.ended()
    expect((await run(other)).all('tool.result')).toMatchObject([{ outcome: 'ok', output: 'again' }])
  })

  test.each([
    ['SIGTERM', {}],
    ['SIGTERM', { onTerm: 'exit' }],
    ['SIGKILL', {}],
  ] as const)('ends when its parent is ended by %s %j', async (signal, how) => {
    await using fake = await FakeMcpServer.start('stdio')
    await using host = new Child<{ type: 'ready' }, never>('mcp-host-process.ts', { server: fake.options, ...how })
    await host.said('ready')
    process.kill(host.pid, signal)
    await fake.ended()
  })

  test('is not found, with the name of the server and the reason', async () => {
    await expect(mcpTools({ files: { command: '/no/such/program' } })).rejects.toMatchObject({
      code: 'unavailable',
      message: 'the MCP server files cannot be reached: ENOENT',
    })
  })

  test('ends when it is no MCP server', async () => {
    const silent = { command: process.execPath, args: ['-e', 'setTimeout(() => {}, 60_000)'], connectMs: 300 }
    await expect(mcpTools({ silent })).rejects.toMatchObject({
      code: 'unavailable',
      message: 'the MCP server silent did not answer in time',
    })
    const short = { command: process.execPath, args: ['-e', ''] }
    await expect(mcpTools({ short })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('the MCP server short'),
    })
  })
})

describe('an MCP server that is reached through HTTP', () => {
  test('gets the configured headers with each request', async () => {
    await using fake = await FakeMcpServer.start('stateful')
    await results(fake, {}, { name: 'fake_weather' })
    const requests = fake.reports.filter((report) => report.type === 'request')
    expect(new Set(requests.map(({ authorization }) => authorization))).toEqual(new Set(['Bearer k']))
  })

  test('cannot send a client of it to another address', async () => {
    await using fake = await FakeMcpServer.start('stateless')
    const { url } = fake.options as { url: string }
    const redirecting = createServer((_, response) => response.writeHead(307, { location: url }).end()).listen(0)
    try {
      const { port } = redirecting.address() as { port: number }
      await expect(mcpTools({ moved: { url: `http://127.0.0.1:${port}/mcp` } })).rejects.toMatchObject({
        code: 'unavailable',
      })
      expect(fake.reports.some(({ type }) => type === 'request')).toBe(false)
    } finally {
      redirecting.close()
    }
  })

  test('is reported as unreachable, or by its status without its words', async () => {
    const broken = createServer((_, response) => response.writeHead(500).end('key sk-123')).listen(0)
    const { port } = broken.address() as { port: number }
    const url = `http://127.0.0.1:${port}/mcp`
    await expect(mcpTools({ docs: { url } })).rejects.toMatchObject({
      code: 'unavailable',
      message: 'the MCP server docs answered with HTTP 500',
    })
    await new Promise((done) => broken.close(done))
    await expect(mcpTools({ docs: { url } })).rejects.toMatchObject({
      code: 'unavailable',
      message: 'the MCP server docs cannot be reached: ECONNREFUSED',
    })
  })
})

describe('mcpTools', () => {
  test.each([
    [{}, 'the MCP server x needs either `command` or `url`'],
    [{ command: 'a', url: 'http://b' }, 'the MCP server x needs either `command` or `url`'],
    [{ url: 'ftp://b' }, 'the MCP server x: url must be an address such as https://mcp.example/mcp'],
    [{ command: ' ' }, 'the MCP server x: command is empty'],
    [{ command: 'a', args: [1] }, 'the MCP server x: args and the values of env must be strings'],
    [{ command: 'a', timeoutMs: 0 }, 'the MCP server x: timeoutMs must be above 0, not 0'],
    [{ command: 'a', arguments: [] }, 'unknown option arguments of the MCP server x; did you mean args?'],
  ])('refuses %j', async (options, message) => {
    await expect(mcpTools({ x: options as never })).rejects.toMatchObject({
      code: 'bad_request',
      message: expect.stringContaining(message.split(';')[0]!),
    })
  })
})

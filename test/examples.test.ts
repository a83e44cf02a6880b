import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createClient } from '../client-sdk/node.ts'
import type { Actor } from '../server/index.ts'
import { Command, type CommandOptions, serving } from './helpers/command.ts'
import { FakeProvider } from './helpers/fake-provider.ts'
import { FakeMcpServer } from './helpers/mcp-server.ts'
import { root } from './helpers/root.ts'

function example(name: string, options: CommandOptions = {}): Command {
  return new Command(process.execPath, ['--import', 'tsx', `examples/${name}`], options)
}

test('the client types what the server of the first screen sends, and Ctrl-C stops it with a receipt', async () => {
  await using server = example('server.ts', { env: { PORT: '0' } })
  const [, url = ''] = await server.said('stdout', /listening on (\S+)/)
  await using client = example('client.ts', { env: { URL: url } })
  await client.said('stdout', /millrace.* .* /)
  client.kill('SIGINT')
  const { code, stdout, stderr } = await client.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  for (const part of ["outcome: 'cancelled'", 'settled: true', "provider: 'closed'"]) expect(stdout).toContain(part)
})

test.concurrent.each(['express.ts', 'fastify.ts', 'hono.ts'])(
  '%s serves its own pages and, at one path, agents, and ends on SIGTERM',
  async (name) => {
    await using server = example(name, { env: { PORT: '0' } })
    const [, url = ''] = await server.said('stdout', /listening on (ws:\/\/127\.0\.0\.1:\d+\/agents)/)
    const page = new URL('/', url.replace('ws:', 'http:'))
    expect(await (await fetch(page)).text()).toBe('Agents are at /agents\n')
    expect((await fetch(new URL('/nothing', page))).status).toBe(404)
    const client = createClient<{ chat: Actor<string> }>(url, { token: 'a-long-secret' })
    const run = client.start('chat', 'Tell me about millrace')
    let text = ''
    for await (const token of run.text()) {
      text += token
      if (text.includes('carries')) expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
    }
    expect(text).toContain('carries')
    await client.close()
    server.kill('SIGTERM')
    expect(await server.ended).toMatchObject({ code: 0, signal: null, stderr: '' })
  },
)

test('one run is started with useChat, watched with curl, steered, approved over HTTP and stopped with openai, as the README shows', async () => {
  await using recorded = example('one-run.ts')
  const { code, stdout, stderr } = await recorded.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const lines = stdout.trimEnd().split('\n')
  const of = (client: string): string[] => lines.filter((line) => line.startsWith(client)).map((line) => line.slice(15))
  expect(of('useChat').at(-1)).toBe('shows the message as cancelled')
  expect(of('curl -N')).toEqual([
    'tool.call mail {"to":"Ada"}',
    'tool.result sent to Ada',
    'token "You" ...',
    'end cancelled',
  ])
  expect(of('millrace').at(-1)).toBe('end cancelled, provider closed, settled true')
  expect(of('HTTP')).toEqual(['POST input approve: accepted', 'GET run: cancelled, user by client'])
  expect(of('openai')).toEqual(['calls responses.cancel', 'gets the response: cancelled'])
  const picture = readFileSync(`${root}docs/one-run.svg`, 'utf8')
  const drawn = [...picture.matchAll(/<text class="line"[^>]*>(.*)<\/text>/g)].map(([, text = '']) =>
    text.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&amp;', '&'),
  )
  expect(drawn.toSorted()).toEqual(lines.map((line) => line.slice(15)).toSorted())
})

test.concurrent('the package openai lists actors as models, comes back to a response in the background, and stops one', async () => {
  await using script = example('openai-client.ts')
  const { code, stdout, stderr } = await script.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout.replace(/\d+/, 'N').split('\n')).toEqual([
    'models: chat',
    'chat completion: N characters',
    'background response: nothing lost or doubled: true',
    'cancelled response: cancelled',
    '',
  ])
})

test.concurrent('the script with curl starts a run of `millrace serve`, reads it, stops it, and sees its one end', async () => {
  await using serve = await serving(['--token', 'mine'])
  const [, url = ''] = /http {4}(http:\/\/127\.0\.0\.1:\d+)\/runs/.exec(serve.server.stdout) ?? []
  await using script = new Command('sh', ['examples/curl.sh', url, 'mine'])
  const { code, stdout, stderr } = await script.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const [, started = '', events = '', receipt = '', end = ''] = stdout.split(/^# .*\n/m)
  const { run } = JSON.parse(started) as { run: string }
  expect(events).toMatch(/^event: opened\n/m)
  expect(events).toMatch(/^id: 1-1\n/m)
  const heard = { confirmed: true, receipt: { note: 'heard enough', provider: 'closed' } }
  expect(JSON.parse(receipt)).toMatchObject({ run, outcome: 'cancelled', ...heard })
  expect(JSON.parse(end)).toMatchObject({ run, state: 'ended', end: { outcome: 'cancelled' } })
  // What `sh` is differs: the one of some systems goes on behind a failure in a function.
  for (const [shell = '', ...options] of [['sh'], ['bash', '--posix']]) {
    await using wrong = new Command(shell, [...options, 'examples/curl.sh', url, 'another'])
    const said = {
      stdout: expect.stringMatching(/^# start .*\n$/),
      stderr: expect.stringContaining('"unauthenticated"'),
    }
    expect(await wrong.ended).toMatchObject({ code: 1, ...said })
  }
})

test.concurrent('the bridge to a chat platform shows typing, edits one message no faster than allowed, and stops', async () => {
  await using script = example('chat-bridge/start.ts')
  const { code, stdout, stderr } = await script.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const calls = Array.from(stdout.matchAll(/^ *(\d+) ms {2}(\w+) +\d+ characters (.*)$/gm), ([, at, what, text]) => ({
    at: Number(at),
    what,
    text,
  }))
  const posts = calls.flatMap(({ what }, at) => (what === 'post' ? [at] : []))
  expect(posts).toHaveLength(2)
  const [first, second] = [calls.slice(0, posts[1]), calls.slice(posts[1])]
  for (const message of [first, second]) {
    const shown = message.filter(({ what }) => what === 'edit')
    expect(shown.length).toBeGreaterThan(0)
    for (const [n, { at }] of shown.entries()) if (n > 0) expect(at - shown[n - 1]!.at).toBeGreaterThanOrEqual(400)
  }
  expect(calls[0]?.what).toBe('typing')
  expect(first.findLast(({ what }) => what === 'edit')?.text).toContain('openai:NAME.')
  expect(second.at(-1)?.text).toContain('(stopped)')
})

const noKeys: Record<string, string> = {
  ANTHROPIC_API_KEY: '',
  GEMINI_API_KEY: '',
  GOOGLE_API_KEY: '',
  OPENAI_API_KEY: '',
  OLLAMA_HOST: '',
}

test('the example of models says what to set where no key is set', async () => {
  await using models = example('models.ts', { env: noKeys })
  const { code, stdout, stderr } = await models.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  for (const what of ['ANTHROPIC_API_KEY', 'GEMINI_API_KEY or GOOGLE_API_KEY', 'OPENAI_API_KEY', 'OLLAMA_HOST'])
    expect(stdout).toContain(what)
})

test('the example of models asks every provider whose key is set', async () => {
  await using provider = await FakeProvider.start()
  const calls = [{ name: 'weather', args: '{"city":"Oslo"}' }]
  const names = { ANTHROPIC_MODEL: 'a', GEMINI_MODEL: 'g', OPENAI_MODEL: 'o', OLLAMA_MODEL: 'l' }
  for (const name of Object.values(names))
    await provider.behave(name, { calls, finish: 'tool_calls' }, { texts: ['Rain.'] })
  const env = {
    ...names,
    ANTHROPIC_API_KEY: 'k',
    ANTHROPIC_BASE_URL: provider.host,
    GEMINI_API_KEY: 'k',
    GOOGLE_GEMINI_BASE_URL: provider.host,
    OPENAI_API_KEY: 'k',
    OPENAI_BASE_URL: provider.baseURL,
    OLLAMA_HOST: provider.host,
  }
  await using models = example('models.ts', { env })
  const { code, stdout, stderr } = await models.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  for (const name of ['anthropic', 'gemini', 'openai', 'ollama']) {
    expect(stdout).toContain(`${name} calls weather\n`)
    expect(stdout).toContain(`${name}: Rain. (22 tokens in, `)
  }
})

test('the example of MCP says what to set where no server is set', async () => {
  await using mcp = example('mcp.ts', { env: { MCP_URL: '', MCP_COMMAND: '' } })
  const { code, stdout, stderr } = await mcp.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  for (const what of ['MCP_URL', 'MCP_COMMAND']) expect(stdout).toContain(what)
})

test('the example of MCP uses the server whose address is set', async () => {
  await using fake = await FakeMcpServer.start('stateless')
  const { url } = fake.options as { url: string }
  await using mcp = example('mcp.ts', { env: { MCP_URL: url, MCP_COMMAND: '' } })
  const { code, stdout, stderr } = await mcp.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toContain('tools: mcp_echo')
})

test.each(['server.ts', 'client.ts'])('the first screen of the README shows examples/%s as it is', (name) => {
  const readme = readFileSync(`${root}README.md`, 'utf8')
  expect(readme).toContain(`\`\`\`ts\n// examples/${name}\n${readFileSync(`${root}examples/${name}`, 'utf8')}\`\`\`\n`)
})

test('the example of a research team leaves out who is cancelled, and ends by its budget', async () => {
  await using team = example('research-team.ts', { env: noKeys })
  const { code, stdout, stderr } = await team.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toContain('books is cancelled: true\n')
  expect(stdout).toContain('research/books has ended: cancelled\n')
  expect(stdout).toContain('step research/web: done\nstep research: done\n')
  expect(stdout).toMatch(/\nanswer: .+\nbudget: budget_exceeded\n$/)
})

test('the example of a writing pipeline is approved, and tries again what failed', async () => {
  await using pipeline = example('writing-pipeline.ts', { env: noKeys })
  const { code, stdout, stderr } = await pipeline.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/Publish these \d+ words\? yes\n/)
  expect(stdout).toContain(
    'post failed: step post failed: the journal does not answer\npost start (attempt 2)\npost done\n',
  )
  expect(stdout).toMatch(/\{ topic: 'mills', words: \d+ \}\n$/)
})

test('the example of a batch goes on behind the last chunk that was stored', async () => {
  await using batch = example('csv-batch.ts')
  const { code, stdout, stderr } = await batch.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const lines = stdout.trim().split('\n')
  expect(lines.slice(5, 8)).toEqual(['6000 of 10000', 'step import failed: the database is down', '7000 of 10000'])
  expect(lines.at(-1)).toBe('{ items: 10000 } stored 10 chunks')
})

test('the example of a workflow as data runs a JSON file, and refuses an unknown actor', async () => {
  await using data = example('workflow-data.ts')
  const { code, stdout, stderr } = await data.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toContain('{"type":"action-start","action":"receivers","name":"receivers"}\n')
  expect(stdout).toContain('{"type":"complete","result":["sent to Ada","sent to Bob"]}\n')
  expect(stdout).toContain('MillraceError: step nobody: unknown actor nobody; known actors: none\n')
})

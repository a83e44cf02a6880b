import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createClient } from '../client-sdk/node.ts'
import type { Actor } from '../server/index.ts'
import { Command, type CommandOptions, root } from './helpers/command.ts'
import { FakeProvider } from './helpers/fake-provider.ts'

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

test.each(['server.ts', 'client.ts'])('the first screen of the README shows examples/%s as it is', (name) => {
  const readme = readFileSync(`${root}README.md`, 'utf8')
  expect(readme).toContain(`\`\`\`ts\n// examples/${name}\n${readFileSync(`${root}examples/${name}`, 'utf8')}\`\`\`\n`)
})

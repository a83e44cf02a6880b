import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Collector } from '../helpers/collector.ts'
import { MILLRACE, millrace } from '../helpers/command.ts'
import { root } from '../helpers/root.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-mcp-'))
const config = join(folder, 'actors.mjs')
const imported = (path: string): string => JSON.stringify(pathToFileURL(`${root}${path}`).href)

/** Actors that say on stderr what happens in them, as one that writes to stdout by mistake does. */
writeFileSync(
  config,
  `import { actor, agent, demo } from ${imported('dist/server/index.js')}
import { z } from ${imported('node_modules/zod/index.js')}
console.log('a line on stdout')
export default {
  actors: {
    chat: agent({ model: demo({ tokensPerSec: Infinity }), description: 'Answers.' }),
    add: actor({
      input: z.object({ a: z.number(), b: z.number() }),
      async ask({ a, b }) { return { sum: a + b } },
    }),
    pages: actor({
      async *stream(_, { signal }) {
        console.log('begun')
        for (let current = 1; current <= 3; current++) {
          yield { type: 'progress', current, total: 3, message: 'page' }
          // A client drops the progress of a call that has its result already.
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
        yield 'three pages'
      },
    }),
    forever: actor({
      interactive: true,
      async *stream(_, { signal, inputs }) {
        console.log('begun')
        yield 'waiting. '
        signal.addEventListener('abort', () => console.log('stopped'))
        for await (const { data } of inputs) { yield 'got ' + data + '. '; if (data === 'end') return }
      },
    }),
    careful: actor({
      async *stream(_, { request }) { yield 'May I? '; yield (await request({ kind: 'confirm', prompt: 'Go?' })) ? 'yes' : 'no' },
    }),
    fails: actor({ ask() { throw new Error('a secret') } }),
  },
}
`,
)
afterAll(() => rmSync(folder, { recursive: true }))

/** A client of \`millrace mcp\`, of either generation of the protocol. */
async function connected(mode: 'auto' | 'legacy') {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MILLRACE, 'mcp', '--config', config],
    stderr: 'pipe',
  })
  const stderr: Collector<string> = new Collector({ describe: () => stderr.items.join('') })
  transport.stderr?.on('data', (chunk: Buffer) => stderr.add(chunk.toString()))
  const errors: Error[] = []
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } })
  client.onerror = (error) => errors.push(error)
  await client.connect(transport)
  const call = async (name: string, args: Record<string, unknown> = {}, options = {}) => {
    const result = await client.callTool({ name, arguments: args }, options)
    const [first] = result.content
    return { ...result, text: first?.type === 'text' ? first.text : undefined }
  }
  return { client, call, errors, stderr, transport }
}

describe.each(['auto', 'legacy'] as const)('millrace mcp, to a client of mode %s', (mode) => {
  let mcp: Awaited<ReturnType<typeof connected>>
  beforeAll(async () => {
    mcp = await connected(mode)
  })
  afterAll(() => mcp.client.close())

  test('has a tool for each actor, with its schema, and four for runs', async () => {
    const { tools } = await mcp.client.listTools()
    expect(tools.map(({ name }) => name)).toEqual([
      ...['chat', 'add', 'pages', 'forever', 'careful', 'fails'],
      ...['start_run', 'attach_run', 'steer_run', 'cancel_run'],
    ])
    expect(tools[0]).toMatchObject({ description: 'Answers.', inputSchema: { type: 'object', required: ['input'] } })
    expect(tools[1]).toMatchObject({ inputSchema: { type: 'object', required: ['a', 'b'] } })
  })

  test('runs an actor to its end, and returns its result, or its text', async () => {
    expect(await mcp.call('add', { a: 1, b: 2 })).toMatchObject({ structuredContent: { sum: 3 }, text: '{"sum":3}' })
    expect((await mcp.call('chat', { input: 'Tell me about millrace' })).text).toContain('millrace')
  })

  test('carries progress over', async () => {
    const progress: unknown[] = []
    const { text } = await mcp.call('pages', {}, { onprogress: (one: unknown) => progress.push(one) })
    expect(text).toBe('three pages')
    expect(progress).toEqual([1, 2, 3].map((n) => ({ progress: n, total: 3, message: 'page' })))
  })

  test('stops the run when the call is cancelled, and goes on serving', async () => {
    const controller = new AbortController()
    const count = (word: string): number => mcp.stderr.items.join('').split(word).length
    const [begun, before] = [count('begun'), count('stopped')]
    const call = mcp.call('forever', {}, { signal: controller.signal })
    call.catch(() => {})
    await mcp.stderr.until(() => count('begun') > begun, 'the beginning of the actor')
    controller.abort('enough')
    await expect(call).rejects.toThrow()
    await mcp.stderr.until(() => count('stopped') > before, 'the stop of the actor')
    expect(await mcp.call('add', { a: 2, b: 2 })).toMatchObject({ text: '{"sum":4}' })
  })

  test('starts a run, reads on in it, steers it, and reports its end', async () => {
    const started = await mcp.call('start_run', { actor: 'forever' })
    const { run } = started.structuredContent as { run: string }
    const first = await mcp.call('attach_run', { run, waitMs: 300 })
    expect(first.structuredContent).toMatchObject({ run, status: 'running', text: 'waiting. ' })
    expect(await mcp.call('steer_run', { run, message: 'more' })).toMatchObject({
      text: expect.stringContaining('accepted'),
    })
    await mcp.call('steer_run', { run, message: 'end' })
    const { seq: after } = first.structuredContent as { seq: number }
    const last = await mcp.call('attach_run', { run, after })
    expect(last.structuredContent).toMatchObject({ status: 'done', text: 'got more. got end. ' })
  })

  test('cancels a run by its id, with its receipt', async () => {
    const { structuredContent } = await mcp.call('start_run', { actor: 'forever' })
    const { run } = structuredContent as { run: string }
    const cancelled = await mcp.call('cancel_run', { run, note: 'not needed' })
    expect(cancelled.structuredContent).toMatchObject({ run, outcome: 'cancelled', settled: true, note: 'not needed' })
    expect((await mcp.call('attach_run', { run })).structuredContent).toMatchObject({ status: 'cancelled' })
  })

  test('returns what a run asks, and takes the answer', async () => {
    const asked = await mcp.call('careful')
    expect(asked.structuredContent).toMatchObject({ status: 'waiting', text: 'May I? ', waiting: { prompt: 'Go?' } })
    const { run, seq, waiting } = asked.structuredContent as { run: string; seq: number; waiting: { request: string } }
    await mcp.call('steer_run', { run, request: waiting.request, answer: true })
    const end = await mcp.call('attach_run', { run, after: seq })
    expect(end.structuredContent).toMatchObject({ status: 'done', text: 'yes' })
  })

  test('reports errors as results, and no secrets', async () => {
    for (const [name, args, text] of [
      ['add', { a: 'x' }, /^invalid_input: [^]*"path":\["a"\]/],
      ['fails', {}, /^\w+: (?![^]*secret)/],
      ['attach_run', { run: 'r_none' }, /^not_found: /],
      ['steer_run', { run: 'r_none' }, /needs either `message` or `request`/],
      ['start_run', {}, /^invalid_input: invalid arguments of start_run: actor: /],
      ['nothing', {}, /^not_found: unknown tool nothing; /],
    ] as const) {
      const result = await mcp.call(name, args)
      expect(result.isError, name).toBe(true)
      expect(result.text).toMatch(text)
    }
  })

  test('writes nothing but the protocol to stdout', () => {
    expect(mcp.errors).toEqual([])
    expect(mcp.stderr.items.join('')).toContain('a line on stdout')
  })
})

test('millrace mcp stops its runs and exits when its stdin ends', async () => {
  const mcp = await connected('legacy')
  void mcp.call('forever').catch(() => {})
  await mcp.stderr.until(() => mcp.stderr.items.join('').includes('begun'), 'the beginning of the actor')
  await mcp.client.close()
  await mcp.stderr.until(() => mcp.stderr.items.join('').includes('stopped'), 'the stop of the actor')
})

test('millrace mcp refuses an actor whose tool would have the name of another tool', async () => {
  const taken = join(folder, 'taken.mjs')
  writeFileSync(
    taken,
    `import { actor } from ${imported('dist/server/index.js')}
export default { actors: { 'start run': actor({ ask: () => 1 }) } }`,
  )
  const { code, stderr, stdout } = await millrace(['mcp', '--config', taken]).ended
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toContain('two tools would be named start_run: rename the actor start run')
})

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Client, type ElicitRequestFormParams, type ElicitResult, type Progress } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { MILLRACE } from '../helpers/command.ts'
import { root } from '../helpers/root.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-mcp-questions-'))
const config = join(folder, 'actors.mjs')
const imported = (path: string): string => JSON.stringify(pathToFileURL(`${root}${path}`).href)

/** Actors that ask. An agent whose model calls `pay` twice; one question of each sort; and one whose question ends. */
writeFileSync(
  config,
  `import { actor, agent, tool } from ${imported('dist/server/index.js')}
import { z } from ${imported('node_modules/zod/index.js')}
const paid = []
const model = {
  id: 'test:payer',
  provider: 'test',
  async *stream({ messages }) {
    const n = messages.filter(({ role }) => role === 'tool').length
    if (n < 2) yield { type: 'tool.call', call: 'c' + n, name: 'pay', args: { euros: n + 1 } }
    else yield { type: 'text', text: 'paid ' + JSON.stringify(paid.splice(0)) }
    yield { type: 'finish', stop: n < 2 ? 'tool_calls' : 'stop' }
  },
}
const pay = tool({
  description: 'Pays',
  input: z.object({ euros: z.number() }),
  needsApproval: true,
  run: ({ euros }) => { paid.push(euros); return 'ok' },
})
const asks = (question, slow = false) => actor({
  async *stream(_, { request }) {
    yield 'So: '
    // A client drops the progress of a call that has its result already.
    const drained = () => new Promise((resolve) => setTimeout(resolve, 50))
    if (slow) { yield { type: 'progress', current: 1 }; await drained() }
    const answer = await request(question)
    if (slow) { yield { type: 'progress', current: 2 }; await drained() }
    yield JSON.stringify(answer)
  },
})
const city = { type: 'object', properties: { city: { type: 'string' }, nights: { type: 'integer' } }, required: ['city'] }
export default {
  actors: {
    payer: agent({ model, tools: { pay } }),
    confirms: asks({ kind: 'confirm', prompt: 'Go?' }),
    reports: asks({ kind: 'confirm' }, true),
    text: asks({ kind: 'text', prompt: 'Which size?' }),
    choice: asks({ kind: 'choice', prompt: 'Which Oslo?', schema: { enum: ['Norway', 'Florida'] } }),
    number: asks({ kind: 'number', prompt: 'How many?', schema: { type: 'integer', minimum: 1 } }),
    form: asks({ kind: 'form', prompt: 'Where to?', schema: city }),
    nested: asks({ kind: 'form', prompt: 'Where to?', schema: { type: 'object', properties: { to: city } } }),
    unknown: asks({ kind: 'signature' }),
    private: asks({ kind: 'confirm', who: () => false }),
    many: actor({
      async *stream(_, { request }) { for (let n = 1; n <= 9; n++) if (await request({ kind: 'confirm' })) yield n + ' ' },
    }),
    both: actor({
      async *stream(_, { request }) {
        const [a, b] = await Promise.all([request({ kind: 'text', prompt: 'a' }), request({ kind: 'text', prompt: 'b' })])
        yield a + ' and ' + b
      },
    }),
    impatient: actor({
      async ask(_, { request }) { return await request({ kind: 'confirm', expiresMs: 100 }).catch(({ code }) => 'ended by ' + code) },
    }),
  },
}
`,
)
afterAll(() => rmSync(folder, { recursive: true }))

type Ask = (form: ElicitRequestFormParams, signal: AbortSignal) => ElicitResult | Promise<ElicitResult>

/** A client of \`millrace mcp\` whose user answers as \`user.ask\` does. Undefined: it takes no questions. */
async function connected(mode: 'auto' | 'legacy', user?: { ask: Ask }) {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MILLRACE, 'mcp', '--config', config],
    stderr: 'inherit',
  })
  const client = new Client(
    { name: 'test', version: '1' },
    { versionNegotiation: { mode }, ...(user && { capabilities: { elicitation: { form: {} } } }) },
  )
  if (user)
    client.setRequestHandler('elicitation/create', ({ params }, { mcpReq }) =>
      user.ask(params as ElicitRequestFormParams, mcpReq.signal),
    )
  await client.connect(transport)
  const call = async (name: string, args: Record<string, unknown> = {}, options = {}) => {
    const result = await client.callTool({ name, arguments: args }, options)
    const [first] = result.content
    const text = first?.type === 'text' ? first.text : undefined
    return { ...result, text, structured: result.structuredContent as Record<string, unknown> }
  }
  return { client, call }
}

describe.each(['auto', 'legacy'] as const)('a question of a run, at a client of mode %s with a user', (mode) => {
  let mcp: Awaited<ReturnType<typeof connected>>
  const user: { ask: Ask } = { ask: () => ({ action: 'cancel' }) }
  const forms: ElicitRequestFormParams[] = []
  const answers = (...results: ElicitResult[]): void => {
    user.ask = (form) => {
      forms.push(form)
      return results.shift() ?? { action: 'cancel' }
    }
  }
  const accept = (content: Record<string, string | number | boolean> = {}): ElicitResult => ({
    action: 'accept',
    content,
  })
  beforeAll(async () => {
    mcp = await connected(mode, user)
  })
  beforeEach(() => void forms.splice(0))
  afterAll(() => mcp.client.close())

  test('is a form: a decision is its accept and decline, and the call returns the answer of the run', async () => {
    answers(accept(), { action: 'decline' })
    expect((await mcp.call('confirms')).text).toBe('So: true')
    expect((await mcp.call('confirms')).text).toBe('So: false')
    expect(forms[0]).toMatchObject({ message: 'Go?', requestedSchema: { type: 'object', properties: {} } })
  })

  test.each([
    ['text', accept({ answer: 'large' }), '"large"', { answer: { type: 'string' } }],
    ['choice', accept({ answer: 'Norway' }), '"Norway"', { answer: { type: 'string', enum: ['Norway', 'Florida'] } }],
    ['number', accept({ answer: 3 }), '3', { answer: { type: 'integer', minimum: 1 } }],
    ['form', accept({ city: 'Oslo', nights: 2 }), '{"city":"Oslo","nights":2}', { city: { type: 'string' } }],
    ['form', { action: 'decline' }, 'null', { nights: { type: 'integer' } }],
    ['text', { action: 'decline' }, 'null', {}],
  ] as const)('of an actor %s takes the answer %j as %s', async (actor, result, value, properties) => {
    answers(result)
    expect((await mcp.call(actor)).text).toBe(`So: ${value}`)
    expect(forms).toMatchObject([{ requestedSchema: { type: 'object', properties } }])
  })

  test('for approval allows the call, refuses it, and may allow all later ones', async () => {
    answers(accept(), { action: 'decline' })
    expect((await mcp.call('payer', { input: 'pay' })).text).toBe('paid [1]')
    expect(forms).toMatchObject([{ message: 'Allow pay {"euros":1}?' }, { message: 'Allow pay {"euros":2}?' }])
    answers(accept({ remember: true }))
    expect((await mcp.call('payer', { input: 'pay' })).text).toBe('paid [1,2]')
    expect(forms).toHaveLength(3)
  })

  test('comes with others of the same run, each with its own answer', async () => {
    user.ask = ({ message }) => accept({ answer: `answer to ${message}` })
    expect((await mcp.call('both')).text).toBe('answer to a and answer to b')
  })

  test('does not hide the progress before and after it, which is reported once', async () => {
    answers(accept())
    const progress: number[] = []
    const onprogress = (one: Progress): void => {
      // The client of the newer protocol reports its rounds here as well.
      if (one.message === undefined) progress.push(one.progress)
    }
    await mcp.call('reports', {}, { onprogress })
    expect(progress).toEqual([1, 2])
  })

  test('that the user closes stays open: the call says so, with the id of the run, which another way may answer', async () => {
    answers({ action: 'cancel' })
    const { structured } = await mcp.call('confirms')
    expect(structured).toMatchObject({ status: 'waiting', why: 'the user gave no answer', text: 'So: ' })
    const { run, seq, waiting } = structured as { run: string; seq: number; waiting: { request: string } }
    await mcp.call('steer_run', { run, request: waiting.request, answer: true })
    expect((await mcp.call('attach_run', { run, after: seq })).structured).toMatchObject({
      status: 'done',
      text: 'true',
    })
  })

  test.each([
    ['nested', 'no form has room for the answer', 0],
    ['unknown', 'no form has room for the answer', 0],
    ['text', 'the answer does not fit', 1],
    ['private', 'the answer was refused: this principal may not answer this request', 1],
  ])('of an actor %s that cannot be answered so says that %s', async (actor, why, asked) => {
    answers(accept())
    const { isError, structured } = await mcp.call(actor)
    expect({ isError: isError ?? false, structured }).toMatchObject({
      isError: false,
      structured: { status: 'waiting', why },
    })
    expect(forms).toHaveLength(asked)
  })

  test('is withdrawn when its call is cancelled, and the connection goes on', async () => {
    const stop = new AbortController()
    user.ask = (_, signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve({ action: 'cancel' }))
        stop.abort('enough')
      })
    await expect(mcp.call('confirms', {}, { signal: stop.signal })).rejects.toThrow()
    answers(accept())
    expect((await mcp.call('confirms')).text).toBe('So: true')
  })

  test('that is over before its answer does not change how the run ended', async () => {
    // A form of the older protocol is withdrawn. One of the newer cannot be, and its answer comes too late.
    user.ask = (_, signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve({ action: 'cancel' }))
        if (mode === 'auto') setTimeout(() => resolve(accept()), 300)
      })
    expect((await mcp.call('impatient')).text).toBe('ended by timeout')
  })

  test('is one of as many as a client takes in one call', async () => {
    user.ask = () => accept()
    const { structured, text } = await mcp.call('many')
    if (mode === 'legacy') expect(text).toBe('1 2 3 4 5 6 7 8 9 ')
    else expect(structured).toMatchObject({ status: 'waiting', why: 'one call asks no more than 8 questions' })
  })
})

test('a question of a run is the result of the call for a client that takes none, and the result says so', async () => {
  const mcp = await connected('auto')
  const { structured } = await mcp.call('confirms')
  expect(structured).toMatchObject({
    status: 'waiting',
    waiting: { kind: 'confirm', prompt: 'Go?' },
    why: 'the client takes no questions for its user (elicitation)',
    advice: expect.stringMatching(/^ask the user, answer with steer_run/),
  })
  await mcp.client.close()
})

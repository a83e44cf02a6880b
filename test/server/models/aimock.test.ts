import { LLMock } from '@copilotkit/aimock'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { MillraceError } from '../../../protocol/errors.ts'
import { anthropic } from '../../../server/models/anthropic.ts'
import { gemini } from '../../../server/models/gemini.ts'
import type { Model, ModelEvent } from '../../../server/models/model.ts'
import { ollama } from '../../../server/models/ollama.ts'
import { openai } from '../../../server/models/openai.ts'
import { readAll, readToEnd } from '../../helpers/read-all.ts'

const mock = new LLMock({ port: 0, host: '127.0.0.1', logLevel: 'silent' })
mock.onMessage('hello', { content: 'Hi there, this is a longer answer in several chunks.' })
mock.onMessage('weather', { toolCalls: [{ name: 'weather', arguments: '{"city":"Oslo"}' }] })

beforeAll(async () => {
  await mock.start()
})
afterAll(() => mock.stop())

const models: [name: string, make: () => Model][] = [
  ['openai', () => openai('gpt-4o', { apiKey: 'mock', baseURL: `${mock.url}/v1`, env: {}, maxRetries: 0 })],
  [
    'openai responses',
    () => openai('gpt-4o', { api: 'responses', apiKey: 'mock', baseURL: `${mock.url}/v1`, env: {}, maxRetries: 0 }),
  ],
  ['anthropic', () => anthropic('claude-sonnet-5-5', { apiKey: 'mock', baseURL: mock.url, env: {}, maxRetries: 0 })],
  ['gemini', () => gemini('gemini-3-flash', { apiKey: 'mock', baseURL: mock.url, env: {}, maxRetries: 0 })],
  ['ollama', () => ollama('llama3.2', { host: mock.url, env: {}, maxRetries: 0 })],
]

mock.onMessage('both', {
  toolCalls: [
    { name: 'weather', arguments: '{"city":"Oslo"}' },
    { name: 'weather', arguments: '{"city":"Rome"}' },
  ],
})
mock.onMessage('think', { content: 'Yes.', reasoning: 'Let me think about it.' })
mock.onMessage('busy', { error: { message: 'slow down', type: 'rate_limit_error' }, status: 429, retryAfter: 2 })
mock.onMessage('away', { error: { message: 'later', type: 'api_error' }, status: 503 })
mock.onMessage(
  'cut',
  { content: 'one two three four five six seven' },
  { chunkSize: 5, latency: 20, truncateAfterChunks: 6 },
)
mock.onMessage('gone', { content: 'one' }, { chaos: { disconnectRate: 1 } })
mock.onMessage('garbled', { content: 'one' }, { chaos: { malformedRate: 1 } })
mock.onMessage('broken', { error: { message: 'boom', type: 'api_error' }, status: 500 })

describe.each(models)('%s, with a mock by others,', (_name, make) => {
  function asked(content: string): AsyncIterable<ModelEvent> {
    const tools = [{ name: 'weather', description: 'Weather now', parameters: { type: 'object', properties: {} } }]
    const { signal } = new AbortController()
    return make().stream({ messages: [{ role: 'user', content }], tools, signal })
  }
  const ask = (content: string): Promise<ModelEvent[]> => readAll(asked(content))
  const stream = (content: string): ReturnType<typeof readToEnd<ModelEvent>> => readToEnd(asked(content))
  const textOf = (events: readonly ModelEvent[]): string =>
    events.map((event) => (event.type === 'text' ? event.text : '')).join('')

  test('streams text', async () => {
    const events = await ask('hello')
    const texts = events.filter((event) => event.type === 'text')
    expect(texts.length).toBeGreaterThan(1)
    expect(texts.map(({ text }) => text).join('')).toBe('Hi there, this is a longer answer in several chunks.')
    expect(events.at(-1)).toEqual({ type: 'finish', stop: 'stop' })
  })

  test('calls a tool', async () => {
    const events = await ask('weather')
    expect(events).toContainEqual({
      type: 'tool.call',
      call: expect.any(String),
      name: 'weather',
      args: { city: 'Oslo' },
    })
    expect(events.at(-1)).toEqual({ type: 'finish', stop: 'tool_calls' })
  })

  test('makes parallel calls, each under an id of its own', async () => {
    const calls = (await ask('both')).filter((event) => event.type === 'tool.call')
    expect(calls.map(({ args }) => args)).toEqual([{ city: 'Oslo' }, { city: 'Rome' }])
    expect(new Set(calls.map(({ call }) => call)).size).toBe(2)
  })

  test('counts tokens', async () => {
    expect(await ask('hello')).toContainEqual(
      expect.objectContaining({ type: 'usage', input: expect.any(Number), output: expect.any(Number) }),
    )
  })

  test.each([
    ['busy', 'provider_rate_limited', { afterMs: 2_000 }],
    ['broken', 'provider_error', {}],
    ['away', 'provider_overloaded', {}],
    ['gone', 'provider_error', {}],
  ])('that is %s is %s', async (content, code, details) => {
    const error = await ask(content).catch((error: unknown) => error)
    expect(error).toMatchObject({ code, retryable: true })
    expect((error as MillraceError).details ?? {}).toMatchObject(details)
  })

  test('whose answer is cut fails behind what it said, and is no whole answer', async () => {
    const { events, error } = await stream('cut')
    expect(textOf(events)).toMatch(/^one/)
    expect(error).toMatchObject({ code: expect.stringMatching(/^(provider_error|truncated)$/), retryable: true })
    expect(events.filter(({ type }) => type === 'finish')).toEqual([])
  })

  test('that sends what is no answer at all is an error', async () => {
    const { events, error } = await stream('garbled')
    expect(textOf(events)).toBe('')
    expect(error).toMatchObject({ code: expect.stringMatching(/^(provider_error|truncated)$/) })
  })
})

// The mock does not write thinking in the form of Ollama.
describe.each(models.filter(([name]) => name !== 'ollama'))('%s, with a mock by others,', (_name, make) => {
  test('shows thinking apart from text', async () => {
    const { signal } = new AbortController()
    const events = await readAll(make().stream({ messages: [{ role: 'user', content: 'think' }], signal }))
    const texts = (type: ModelEvent['type']): string =>
      events.map((event) => (event.type === type && 'text' in event ? event.text : '')).join('')
    expect([texts('thinking'), texts('text')]).toEqual(['Let me think about it.', 'Yes.'])
  })
})

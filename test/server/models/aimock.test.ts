import { LLMock } from '@copilotkit/aimock'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { anthropic } from '../../../server/models/anthropic.ts'
import { gemini } from '../../../server/models/gemini.ts'
import type { Model, ModelEvent } from '../../../server/models/model.ts'
import { ollama } from '../../../server/models/ollama.ts'
import { openai } from '../../../server/models/openai.ts'
import { readAll } from '../../helpers/read-all.ts'

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
mock.onMessage('busy', { error: { message: 'slow down', type: 'rate_limit_error' }, status: 429 })
mock.onMessage('broken', { error: { message: 'boom', type: 'api_error' }, status: 500 })

describe.each(models)('%s, with a mock by others,', (_name, make) => {
  async function ask(content: string): Promise<ModelEvent[]> {
    const tools = [{ name: 'weather', description: 'Weather now', parameters: { type: 'object', properties: {} } }]
    const { signal } = new AbortController()
    return readAll(make().stream({ messages: [{ role: 'user', content }], tools, signal }))
  }

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
    ['busy', 'provider_rate_limited'],
    ['broken', 'provider_error'],
  ])('that is %s is %s', async (content, code) => {
    await expect(ask(content)).rejects.toMatchObject({ code, retryable: true })
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

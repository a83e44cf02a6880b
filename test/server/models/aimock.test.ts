import { LLMock } from '@copilotkit/aimock'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
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
  ['openai', () => openai('gpt-4o', { apiKey: 'mock', baseURL: `${mock.url}/v1`, env: {} })],
  ['ollama', () => ollama('llama3.2', { host: mock.url, env: {} })],
]

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
})

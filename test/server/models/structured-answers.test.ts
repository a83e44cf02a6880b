import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type Model, type Structured, tool } from '../../../server/index.ts'
import { anthropic } from '../../../server/models/anthropic.ts'
import { gemini } from '../../../server/models/gemini.ts'
import { openai } from '../../../server/models/openai.ts'
import { servedAgent } from '../../helpers/agent-run.ts'
import { FakeProvider } from '../../helpers/fake-provider.ts'

const enforced: { env: Record<string, string>; structured: Structured } = { env: {}, structured: 'enforced' }

/** Each provider that keeps a model to a schema, and where its request has the schema. */
const providers: [name: string, make: (name: string, host: string) => Model, path: string[]][] = [
  [
    'OpenAI',
    (name, host) => openai(name, { ...enforced, baseURL: `${host}/v1` }),
    ['response_format', 'json_schema', 'schema'],
  ],
  [
    'the Responses API',
    (name, host) => openai(name, { ...enforced, api: 'responses', baseURL: `${host}/v1` }),
    ['text', 'format', 'schema'],
  ],
  ['Anthropic', (name, host) => anthropic(name, { ...enforced, baseURL: host }), ['output_config', 'format', 'schema']],
  ['Gemini', (name, host) => gemini(name, { ...enforced, baseURL: host }), ['generationConfig', 'responseJsonSchema']],
]

const output = z.object({
  city: z.string().min(1),
  celsius: z.number().min(-90).max(60),
  sky: z.enum(['sun', 'rain']).nullable(),
  source: z.literal('look'),
})
const fits = { city: 'Oslo', celsius: -3, sky: null, source: 'look' }

describe.each(providers)('an answer of a schema from %s', (_name, make, path) => {
  let provider: FakeProvider
  beforeAll(async () => {
    provider = await FakeProvider.start()
  })
  afterAll(() => provider[Symbol.asyncDispose]())

  test('is asked for with that schema, also behind a tool, and is the result of the run', async () => {
    const json = JSON.stringify(fits)
    const answer = { texts: [json.slice(0, 9), json.slice(9)] }
    await provider.behave('m', { calls: [{ name: 'look', args: '{}' }], finish: 'tool_calls' }, answer)
    const model = make('m', provider.host)
    const look = tool({ description: 'Looks', run: () => 'cold' })
    await using served = await servedAgent({ model, tools: { look }, output })
    const run = served.client.start('agent', 'How is the weather?')
    expect(await run.result).toEqual(fits)
    expect(served.errors).toEqual([])
    const { body } = await provider.request('m', 2)
    expect(body).toHaveProperty(
      path,
      expect.objectContaining({
        type: 'object',
        properties: expect.objectContaining({ city: expect.objectContaining({ type: 'string' }) }),
        required: Object.keys(fits),
      }),
    )
    expect(await provider.count('m')).toBe(2)
  })
})

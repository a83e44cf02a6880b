import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { MillraceError } from '../../../protocol/errors.ts'
import type { Message, ModelEvent, ModelRequest } from '../../../server/models/model.ts'
import { ModelFailure } from '../../../server/models/model-failure.ts'
import type { ModelSettings } from '../../../server/models/model-settings.ts'
import { type OpenAIOptions, openai } from '../../../server/models/openai.ts'
import { providerSuite } from '../../conformance/model.ts'
import { limitsSuite } from '../../conformance/provider-limits.ts'
import { FakeProvider } from '../../helpers/fake-provider.ts'
import type { Behaviour } from '../../helpers/fake-provider-wire.ts'
import { readToEnd } from '../../helpers/read-all.ts'

const CANARY = 'sk-canary-7c1f0b'

providerSuite({
  provider: 'openai',
  make: (name, host, options) => openai(name, { ...options, apiKey: CANARY, baseURL: `${host}/v1`, env: {} }),
  canary: CANARY,
  streamsArgs: true,
})

limitsSuite({
  provider: 'openai',
  make: (name, host, options) => openai(name, { ...options, baseURL: `${host}/v1`, env: {} }),
})

describe('openai() before anything is sent', () => {
  test('says which variables to set when there is neither key nor base URL', () => {
    expect(() => openai('gpt-5-mini', { env: {} })).toThrow(
      'openai:gpt-5-mini needs a key: set OPENAI_API_KEY, or OPENAI_BASE_URL for a compatible server that needs none',
    )
  })

  const wrong: [what: string, name: string, options: OpenAIOptions, says: string][] = [
    ['a name that is missing', '', { apiKey: 'sk-1' }, 'openai:gpt-5-mini'],
    ['a key with a line break', 'm', { apiKey: 'sk-secret\nX: 1' }, '`apiKey` has characters'],
    ['a key with typographic quotes', 'm', { env: { OPENAI_API_KEY: '“sk-secret”' } }, 'OPENAI_API_KEY has characters'],
    ['a base URL that is none', 'm', { baseURL: 'user:secret@host' }, '`baseURL` must be an address'],
    [
      'a base URL of another kind',
      'm',
      { env: { OPENAI_BASE_URL: 'ws://secret' } },
      'OPENAI_BASE_URL must be an address',
    ],
    ['no name at all', undefined as never, {}, 'openai:gpt-5-mini'],
    ['a base URL with a password', 'm', { baseURL: 'http://me:secret@host/v1' }, 'must not contain a password'],
    [
      'a header that cannot be sent',
      'm',
      { baseURL: 'http://host', headers: { 'x-key': 'secret\n' + '\u{1f511}' } },
      'no header can have',
    ],
    ['an id that cannot be named', 'm', { baseURL: 'http://host', id: 'my model' }, 'the `id` of a model'],
  ]
  for (const [what, name, options, says] of wrong) {
    test(`refuses ${what}, without repeating it`, () => {
      expect(() => openai(name, { env: {}, ...options })).toThrow(
        expect.objectContaining({
          code: 'bad_request',
          message: expect.toSatisfy((message: string) => message.includes(says) && !message.includes('secret')),
        }),
      )
    })
  }
})

/** What a model sends, without a network. */
async function sent(options: OpenAIOptions, request: Partial<ModelRequest> = {}) {
  let sent: { url: string; headers: Headers; body: Record<string, unknown> } | undefined
  const model = openai('m', {
    env: {},
    maxRetries: 0,
    ...options,
    fetch: async (input, init) => {
      const request = new Request(input, init)
      sent = { url: request.url, headers: request.headers, body: (await request.json()) as Record<string, unknown> }
      return new Response('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
    },
  })
  const { signal } = new AbortController()
  const { events, error } = await readToEnd(
    model.stream({ messages: [{ role: 'user', content: 'hi' }], signal, ...request }),
  )
  expect(error).toBeUndefined()
  return { ...sent!, events, model }
}

describe('the key of the environment', () => {
  const env = { OPENAI_API_KEY: 'sk-env', OPENAI_ORG_ID: 'org-env', OPENAI_PROJECT_ID: 'proj-env' }
  const keyOf = ({ headers }: { headers: Headers }): (string | null)[] => [
    headers.get('authorization'),
    headers.get('openai-organization'),
    headers.get('openai-project'),
  ]

  test.each<[string, OpenAIOptions]>([
    ['OpenAI', { env }],
    ['OpenAI, named as `baseURL`', { env, baseURL: 'https://api.openai.com/v1' }],
    ['a region of OpenAI', { env, baseURL: 'https://eu.api.openai.com/v1' }],
    ['the server of the environment', { env: { ...env, OPENAI_BASE_URL: 'http://proxy:8000/v1' } }],
    [
      'another path of the server of the environment',
      { env: { ...env, OPENAI_BASE_URL: 'http://proxy:8000/v1' }, baseURL: 'http://proxy:8000/v2' },
    ],
  ])('is sent to %s', async (_, options) => {
    expect(keyOf(await sent(options))).toEqual(['Bearer sk-env', 'org-env', 'proj-env'])
  })

  test.each([
    'http://127.0.0.1:8000/v1',
    'https://openai.com.evil.example/v1',
    'https://evilopenai.com/v1',
    'http://proxy:9000/v1',
  ])('is not sent to %s, which the options name', async (baseURL) => {
    const options = { env: { ...env, OPENAI_BASE_URL: 'http://proxy:8000/v1' }, baseURL }
    expect(keyOf(await sent(options))).toEqual([null, null, null])
    expect(keyOf(await sent({ ...options, apiKey: 'sk-own', organization: 'org-own' }))).toEqual([
      'Bearer sk-own',
      'org-own',
      null,
    ])
  })

  test('that was not sent is what an operator reads about when the server refuses', async () => {
    const fetch = (): Promise<Response> => Promise.resolve(new Response('{"error":"no"}', { status: 401 }))
    const model = openai('m', { env, baseURL: 'http://host/v1', fetch })
    const { signal } = new AbortController()
    const { error } = await readToEnd(model.stream({ messages: [{ role: 'user', content: 'hi' }], signal }))
    expect(error).toMatchObject({
      message: expect.stringContaining('pass `apiKey`; OPENAI_API_KEY is not sent to another `baseURL`'),
    })
  })

  test('is not needed where a header has the key', async () => {
    const { headers } = await sent({ headers: { Authorization: 'Bearer other' } })
    expect(headers.get('authorization')).toBe('Bearer other')
  })
})

describe('the options of openai()', () => {
  const baseURL = 'http://host/v1'

  test('give the model an id of its own', async () => {
    const { model } = await sent({ baseURL, id: 'fast' })
    expect(model).toMatchObject({ id: 'fast', provider: 'openai' })
  })

  test('add headers, which win over those of the package', async () => {
    const { headers } = await sent({ baseURL, apiKey: 'sk-1', headers: { 'x-team': 'blue', 'user-agent': 'mine' } })
    expect([headers.get('x-team'), headers.get('user-agent'), headers.get('authorization')]).toEqual([
      'blue',
      'mine',
      'Bearer sk-1',
    ])
  })

  test('merge `body` last', async () => {
    const { body } = await sent({ baseURL, body: { temperature: 1, top_k: 5 } }, { temperature: 0.2, maxTokens: 7 })
    expect(body).toMatchObject({ model: 'm', stream: true, temperature: 1, top_k: 5, max_tokens: 7 })
  })

  test.each<[OpenAIOptions['streamOptions'], unknown]>([
    [undefined, { include_usage: true }],
    [{ include_obfuscation: false }, { include_usage: true, include_obfuscation: false }],
    [{ include_usage: false }, { include_usage: false }],
    [false, undefined],
  ])('make of `streamOptions` %j the stream_options %j', async (streamOptions, expected) => {
    const { body } = await sent({ baseURL, ...(streamOptions !== undefined && { streamOptions }) })
    expect(body['stream_options']).toEqual(expected)
  })

  test('keep the values of headers out of what an operator is shown', async () => {
    const fetch = (): Promise<Response> =>
      Promise.resolve(new Response('{"error":"no welcome for swordfish"}', { status: 403 }))
    const model = openai('m', { env: {}, baseURL, fetch, headers: { 'x-key': 'Token swordfish' } })
    const { signal } = new AbortController()
    const { error } = await readToEnd(model.stream({ messages: [{ role: 'user', content: 'hi' }], signal }))
    expect(new ModelFailure('m', error as MillraceError).message).toContain('no welcome for [redacted]')
  })
})

const look = { name: 'look', description: 'Looks', parameters: { type: 'object', properties: {} } }
const SETTINGS: ModelSettings = {
  temperature: 0.1,
  topP: 0.5,
  maxTokens: 9,
  stop: ['END'],
  seed: 4,
  toolChoice: { tool: 'look' },
  effort: 'minimal',
  parallelToolCalls: false,
}

describe('the settings of a request to openai()', () => {
  test('are sent in the words of the API', async () => {
    const { body, events } = await sent({ baseURL: 'http://host/v1' }, { ...SETTINGS, tools: [look] })
    expect(body).toMatchObject({
      temperature: 0.1,
      top_p: 0.5,
      max_tokens: 9,
      stop: ['END'],
      seed: 4,
      tool_choice: { type: 'function', function: { name: 'look' } },
      reasoning_effort: 'minimal',
      parallel_tool_calls: false,
    })
    expect(events.filter(({ type }) => type === 'warning')).toEqual([])
  })

  test.each(['auto', 'none', 'required'] as const)('send the tool choice %s as it is', async (toolChoice) => {
    const { body } = await sent({ baseURL: 'http://host/v1' }, { toolChoice, tools: [look] })
    expect(body['tool_choice']).toBe(toolChoice)
  })

  test('about tools are left out without tools, because the API refuses them', async () => {
    const { body } = await sent({ baseURL: 'http://host/v1' }, SETTINGS)
    expect(body).not.toHaveProperty('tool_choice')
    expect(body).not.toHaveProperty('parallel_tool_calls')
  })

  test('limit the tokens in the words that the models of OpenAI accept', async () => {
    const { body } = await sent({ apiKey: 'sk-1' }, { maxTokens: 9 })
    expect(body).toMatchObject({ max_completion_tokens: 9 })
    expect(body).not.toHaveProperty('max_tokens')
  })
})

describe('the output of a request to openai()', () => {
  const closed = {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  }

  test('is sent as a strict schema, closed as the API demands', async () => {
    const schema = { type: 'object', properties: { city: { type: 'string', minLength: 1 } }, required: ['city'] }
    const { body } = await sent({ baseURL: 'http://host/v1' }, { output: { name: 'output', schema } })
    expect(body['response_format']).toEqual({
      type: 'json_schema',
      json_schema: { name: 'output', schema: closed, strict: true },
    })
  })

  test('is sent as it is, and not strictly, where a member may be missing', async () => {
    const schema = { type: 'object', properties: { city: { type: 'string' } } }
    const { body } = await sent({ baseURL: 'http://host/v1' }, { output: { name: 'output', schema } })
    expect(body['response_format']).toEqual({
      type: 'json_schema',
      json_schema: { name: 'output', schema, strict: false },
    })
  })

  test('is enforced at OpenAI, and best effort elsewhere, unless you say otherwise', () => {
    const env = {}
    expect(openai('m', { env, apiKey: 'sk-1' }).structured).toBe('enforced')
    expect(openai('m', { env, baseURL: 'http://host/v1' }).structured).toBe('best-effort')
    expect(openai('m', { env, baseURL: 'http://host/v1', structured: 'none' }).structured).toBe('none')
  })
})

describe('openai() on the wire', () => {
  let provider: FakeProvider
  beforeAll(async () => {
    provider = await FakeProvider.start()
  })
  afterAll(() => provider[Symbol.asyncDispose]())

  const signal = new AbortController().signal
  const hello: Message[] = [{ role: 'user', content: 'hello' }]

  /** The events of a model that is answered so, and the body of its request. */
  async function said(
    name: string,
    behaviour: Behaviour,
    request: Partial<ModelRequest> = {},
  ): Promise<{ events: ModelEvent[]; body: unknown; error?: unknown }> {
    await provider.behave(name, behaviour)
    const model = openai(name, { env: { OPENAI_BASE_URL: provider.baseURL }, maxRetries: 0 })
    const read = await readToEnd(model.stream({ messages: hello, signal, ...request }))
    return { ...read, body: (await provider.request(name)).body }
  }

  test('needs no key with a base URL', async () => {
    expect((await said('keyless', { tokens: 1 })).events).toMatchObject([{ text: 't0 ' }, { type: 'usage' }, {}])
  })

  test('sends a conversation in its own form, with tools and limits', async () => {
    const { body } = await said(
      'whole',
      { tokens: 1 },
      {
        messages: [
          { role: 'system', content: 'be brief' },
          { role: 'user', content: 'weather?' },
          { role: 'assistant', content: '', calls: [{ call: 'c1', name: 'weather', args: { city: 'Oslo' } }] },
          { role: 'tool', call: 'c1', name: 'weather', content: 'rain' },
          { role: 'assistant', content: 'Rain.', thinking: 'easy' },
        ],
        tools: [{ name: 'weather', description: 'Weather now', parameters: { type: 'object' } }],
        temperature: 0.5,
        maxTokens: 100,
      },
    )
    expect(body).toEqual({
      model: 'whole',
      stream: true,
      stream_options: { include_usage: true },
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: 'weather?' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } }],
        },
        { role: 'tool', tool_call_id: 'c1', content: 'rain' },
        { role: 'assistant', content: 'Rain.' },
      ],
      tools: [
        { type: 'function', function: { name: 'weather', description: 'Weather now', parameters: { type: 'object' } } },
      ],
      temperature: 0.5,
      max_tokens: 100,
    })
  })

  test('sends nothing that was not set', async () => {
    const { body } = await said('bare', { tokens: 1 })
    expect(Object.keys(body as object).sort()).toEqual(['messages', 'model', 'stream', 'stream_options'])
  })

  test('reports cached and thinking tokens apart', async () => {
    const { events } = await said('usage', { tokens: 4 })
    expect(events.at(-2)).toEqual({ type: 'usage', input: 11, output: 4, cached: 3, thinking: 2 })
  })

  test('accepts an answer without usage', async () => {
    const { events } = await said('uncounted', { tokens: 1, noUsage: true })
    expect(events).toEqual([
      { type: 'text', text: 't0 ' },
      { type: 'finish', stop: 'stop' },
    ])
  })

  test('streams arguments under the id of the call that follows', async () => {
    const args = '{"city":"Reykjavik"}'
    const { events } = await said('args', { calls: [{ name: 'weather', args, id: 'call_7' }], finish: 'tool_calls' })
    const pieces = events.filter((event) => event.type === 'tool.args')
    expect(pieces.length).toBeGreaterThan(1)
    expect(pieces.every(({ call, name }) => call === 'call_7' && name === 'weather')).toBe(true)
    expect(pieces.map(({ text }) => text).join('')).toBe(args)
    expect(events).toContainEqual({ type: 'tool.call', call: 'call_7', name: 'weather', args: { city: 'Reykjavik' } })
  })

  test('makes a call though the server says stop and gives it no id', async () => {
    const { events } = await said('compatible', { calls: [{ name: 'now', args: '', id: null }], finish: 'stop' })
    expect(events[0]).toEqual({ type: 'tool.call', call: expect.stringMatching(/^call_.{20,}/), name: 'now', args: {} })
    expect(events.at(-1)).toEqual({ type: 'finish', stop: 'tool_calls' })
  })

  test('leaves arguments that are not JSON as text', async () => {
    const { events } = await said('crooked', {
      calls: [{ name: 'now', args: '{"at": tomorrow' }],
      finish: 'tool_calls',
    })
    expect(events).toContainEqual(expect.objectContaining({ type: 'tool.call', args: '{"at": tomorrow' }))
  })

  test('does not make a call that was cut off by the length limit', async () => {
    const { events } = await said('cut', { calls: [{ name: 'now', args: '{"at":' }], finish: 'length' })
    expect(events.some(({ type }) => type === 'tool.call')).toBe(false)
    expect(events.at(-1)).toEqual({ type: 'finish', stop: 'length' })
  })

  test('keeps two calls apart that were written at once, without an index', async () => {
    const part = (call: object): string =>
      `data: ${JSON.stringify({ choices: [{ delta: { tool_calls: [call] } }] })}\n\n`
    const { events } = await said('unnumbered', {
      raw:
        part({ id: 'a', function: { name: 'one', arguments: '{"n"' } }) +
        part({ function: { arguments: ':1}' } }) +
        part({ id: 'b', function: { name: 'two', arguments: '{"n":2}' } }),
      finish: 'tool_calls',
    })
    expect(events.filter(({ type }) => type === 'tool.call')).toEqual([
      { type: 'tool.call', call: 'a', name: 'one', args: { n: 1 } },
      { type: 'tool.call', call: 'b', name: 'two', args: { n: 2 } },
    ])
  })

  test('makes an answer stopped by the content filter an error behind its text', async () => {
    const { events, error } = await said('filtered', { tokens: 2, finish: 'content_filter' })
    expect(events).toMatchObject([{ text: 't0 ' }, { text: 't1 ' }, { type: 'usage', input: 11, output: 2 }])
    expect(error).toMatchObject({ code: 'content_filtered', retryable: false })
  })

  test('ignores chunks of any other shape', async () => {
    const odd = [
      '{}',
      '[]',
      '7',
      'null',
      '{"choices":7}',
      '{"choices":[{"delta":{"content":{"a":1},"tool_calls":[5]}}]}',
    ]
    const { events, error } = await said('odd', { raw: odd.map((data) => `data: ${data}\n\n`).join(''), texts: ['ok'] })
    expect(error).toBeUndefined()
    expect(events.filter(({ type }) => type === 'text')).toEqual([{ type: 'text', text: 'ok' }])
    expect(events.filter(({ type }) => type === 'warning')).toHaveLength(3)
  })
})

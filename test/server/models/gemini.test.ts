import { describe, expect, test } from 'vitest'
import { type GeminiOptions, gemini } from '../../../server/models/gemini.ts'
import type { Message, ModelEvent, ModelRequest } from '../../../server/models/model.ts'
import type { ModelSettings } from '../../../server/models/model-settings.ts'
import { providerSuite } from '../../conformance/model.ts'
import { limitsSuite } from '../../conformance/provider-limits.ts'
import { readToEnd } from '../../helpers/read-all.ts'
import { problemIn, signatureOf } from '../../helpers/strict-request.ts'

const CANARY = 'AIza-canary-7c1f0b'

providerSuite({
  provider: 'gemini',
  make: (name, host, options) => gemini(name, { ...options, apiKey: CANARY, baseURL: host, env: {} }),
  canary: CANARY,
  streamsArgs: false,
})

limitsSuite({
  provider: 'gemini',
  make: (name, host, options) => gemini(name, { ...options, baseURL: host, env: {} }),
})

describe('gemini() before anything is sent', () => {
  const wrong: [what: string, name: string, options: GeminiOptions, says: string][] = [
    ['a key that is missing', 'g', {}, 'gemini:g needs a key: set GEMINI_API_KEY or GOOGLE_API_KEY'],
    ['a name that is missing', '', { apiKey: 'k' }, 'gemini needs the name of a model'],
    ['a key with a line break', 'm', { env: { GOOGLE_API_KEY: 'secret\nX: 1' } }, 'GOOGLE_API_KEY has characters'],
    ['a base URL that is none', 'm', { env: { GOOGLE_GEMINI_BASE_URL: 'secret' } }, 'GOOGLE_GEMINI_BASE_URL must be'],
    ['an option that it does not have', 'm', { apiKey: 'k', temperature: 1 } as never, 'temperature'],
  ]
  for (const [what, name, options, says] of wrong) {
    test(`refuses ${what}, without repeating it`, () => {
      expect(() => gemini(name, { env: {}, ...options })).toThrow(
        expect.objectContaining({
          code: 'bad_request',
          message: expect.toSatisfy((message: string) => message.includes(says) && !message.includes('secret')),
        }),
      )
    })
  }
})

const chunk = (parts: object[], more: object = {}): object => ({ candidates: [{ content: { parts }, ...more }] })
const END = chunk([], { finishReason: 'STOP' })

/** What a model sends, without a network, and what it says to the chunks of `answer`. */
async function sent(options: GeminiOptions, request: Partial<ModelRequest> = {}, answer: object[] = [END]) {
  let sent: { url: string; headers: Headers; body: Record<string, unknown> } | undefined
  const model = gemini('gemini-3-flash', {
    env: {},
    maxRetries: 0,
    ...options,
    fetch: async (input, init) => {
      const request = new Request(input, init)
      sent = { url: request.url, headers: request.headers, body: (await request.json()) as Record<string, unknown> }
      return new Response(answer.map((data) => `data: ${JSON.stringify(data)}\n\n`).join(''))
    },
  })
  const { signal } = new AbortController()
  const { events, error } = await readToEnd(
    model.stream({ messages: [{ role: 'user', content: 'hi' }], signal, ...request }),
  )
  return { ...sent!, events, error }
}

describe('the key of gemini()', () => {
  const env = { GEMINI_API_KEY: 'k-env' }

  test.each<[string, GeminiOptions, string | null]>([
    ['goes from the environment to Google', { env }, 'k-env'],
    ['of the other variable counts too', { env: { GOOGLE_API_KEY: 'k-other' } }, 'k-other'],
    ['goes to the server of the environment', { env: { ...env, GOOGLE_GEMINI_BASE_URL: 'http://proxy' } }, 'k-env'],
    ['of the environment stays away from any other server', { env, baseURL: 'http://other' }, null],
    ['goes where it is passed', { env, baseURL: 'http://other', apiKey: 'k-own' }, 'k-own'],
  ])('%s', async (_, options, expected) => {
    const { headers, error } = await sent(options)
    expect(error).toBeUndefined()
    expect(headers.get('x-goog-api-key')).toBe(expected)
  })
})

const look = {
  name: 'look',
  description: 'Looks',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
}
const bare = { name: '2look', description: 'Looks', parameters: { type: 'object', properties: {} } }

describe('the settings of a request to gemini()', () => {
  test('are sent in the words of the API, and those that it lacks are named', async () => {
    const settings: ModelSettings = {
      temperature: 0.1,
      topP: 0.5,
      maxTokens: 9,
      stop: ['END'],
      seed: 4,
      toolChoice: { tool: '2look' },
      effort: 'low',
      parallelToolCalls: false,
    }
    const { body, events } = await sent({ apiKey: 'k' }, { ...settings, tools: [look, bare] })
    expect(body).toEqual({
      contents: [{ role: 'user', parts: [{ text: 'hi' }] }],
      generationConfig: {
        temperature: 0.1,
        topP: 0.5,
        maxOutputTokens: 9,
        stopSequences: ['END'],
        seed: 4,
        thinkingConfig: { thinkingLevel: 'LOW', includeThoughts: true },
      },
      tools: [
        {
          functionDeclarations: [
            { name: 'look', description: 'Looks', parametersJsonSchema: look.parameters },
            { name: '_2look', description: 'Looks' },
          ],
        },
      ],
      toolConfig: { functionCallingConfig: { mode: 'ANY', allowedFunctionNames: ['_2look'] } },
    })
    expect(problemIn('gemini', body)).toBeUndefined()
    expect(events[0]).toMatchObject({ type: 'warning', code: 'unsupported_setting' })
  })

  test.each<[string, ModelSettings['effort'], object]>([
    ['gemini-3-flash', 'none', { thinkingBudget: 0 }],
    ['gemini-2.5-flash', 'high', { thinkingBudget: 24_576, includeThoughts: true }],
  ])('of %s make of the effort %s the thinking that it has', async (name, effort, expected) => {
    let body = ''
    const model = gemini(name, {
      apiKey: 'k',
      env: {},
      fetch: async (input, init) => {
        body = await new Request(input, init).text()
        return new Response(`data: ${JSON.stringify(END)}\n\n`)
      },
    })
    const { signal } = new AbortController()
    await readToEnd(model.stream({ messages: [{ role: 'user', content: 'hi' }], effort, signal }))
    expect(JSON.parse(body)).toMatchObject({ generationConfig: { thinkingConfig: expected } })
  })

  test('are those of the option config in the end', async () => {
    const config = { temperature: 1, responseMimeType: 'application/json', httpOptions: { baseUrl: 'http://evil' } }
    const { url, body } = await sent({ apiKey: 'k', config }, { temperature: 0 })
    expect(body).toMatchObject({ generationConfig: { temperature: 1, responseMimeType: 'application/json' } })
    expect(url).toMatch(/^https:\/\/generativelanguage\.googleapis\.com\//)
  })
})

describe('the output of a request to gemini()', () => {
  test('is sent as JSON Schema, with a list of one value for each constant', async () => {
    const schema = {
      type: 'object',
      properties: {
        kind: { type: 'string', const: 'city' },
        n: { const: 1 },
        const: { type: 'string' },
        prices: { type: 'object', additionalProperties: { type: 'number' } },
      },
    }
    const { body } = await sent({ apiKey: 'k' }, { output: { name: 'output', schema } })
    expect(body['generationConfig']).toEqual({
      responseMimeType: 'application/json',
      responseJsonSchema: {
        ...schema,
        properties: { ...schema.properties, kind: { type: 'string', enum: ['city'] }, n: { enum: [1] } },
      },
    })
    expect(problemIn('gemini', body)).toBeUndefined()
  })

  test('is enforced from Gemini 3 on, and best effort before, unless you say otherwise', () => {
    const given = { env: {}, apiKey: 'k' }
    expect(gemini('gemini-3-flash', given).structured).toBe('enforced')
    expect(gemini('gemini-2.5-pro', given).structured).toBe('best-effort')
    expect(gemini('gemini-3-flash', { ...given, structured: 'none' }).structured).toBe('none')
  })
})

describe('a conversation for gemini()', () => {
  const odd: [what: string, messages: Message[]][] = [
    ['with nothing but a system message', [{ role: 'system', content: 'be brief' }]],
    [
      'that ends with an answer',
      [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b' },
      ],
    ],
    [
      'that begins with an answer',
      [
        { role: 'assistant', content: 'b' },
        { role: 'user', content: 'a' },
      ],
    ],
    [
      'with blank texts',
      [
        { role: 'user', content: ' ' },
        { role: 'assistant', content: '' },
        { role: 'user', content: 'a' },
      ],
    ],
    [
      'with calls of another provider, whose results stand in another order',
      [
        { role: 'user', content: 'a' },
        {
          role: 'assistant',
          content: '',
          calls: [
            { call: 'a', name: '2look', args: 'x' },
            { call: 'b', name: 'look it', args: {} },
            { call: 'c', name: 'look', args: {} },
          ],
        },
        { role: 'tool', call: 'b', name: 'look it', content: '' },
        { role: 'tool', call: 'a', name: '2look', content: '1' },
        { role: 'user', content: 'b' },
      ],
    ],
    [
      'with an extra that a client has made up',
      [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b', thinking: 'hm', extra: { gemini: { fileData: 'http://evil' } } },
        { role: 'user', content: 'c' },
      ],
    ],
  ]
  test.each(odd)('%s is one that a strict server accepts', async (_, messages) => {
    const { body, error } = await sent({ apiKey: 'k' }, { messages })
    expect(error).toBeUndefined()
    expect(problemIn('gemini', body)).toBeUndefined()
    expect(JSON.stringify(body)).not.toContain('evil')
  })
})

describe('an answer of gemini()', () => {
  test('keeps ids and signatures, and sends them back with the part that had them', async () => {
    const { events } = await sent({ apiKey: 'k' }, { tools: [look, bare] }, [
      chunk([{ text: 'hm', thought: true }]),
      chunk([{ text: 'Let me see.' }]),
      chunk([{ text: '', thoughtSignature: 'dGV4dA==' }]),
      chunk([
        { functionCall: { id: 'fc-1', name: 'look', args: { city: 'Oslo' } }, thoughtSignature: signatureOf('look') },
      ]),
      chunk([{ functionCall: { name: '_2look' } }]),
      chunk([], { finishReason: 'STOP' }),
    ])
    const calls = events.filter((event) => event.type === 'tool.call')
    expect(calls).toMatchObject([
      { call: 'fc-1', name: 'look', args: { city: 'Oslo' } },
      { call: expect.stringMatching(/^call_.{20,}/), name: '2look', args: {} },
    ])
    const finish = events.at(-1) as Extract<ModelEvent, { type: 'finish' }>
    expect(finish.stop).toBe('tool_calls')
    const messages: Message[] = [
      { role: 'user', content: 'weather?' },
      {
        role: 'assistant',
        content: 'Let me see.',
        thinking: 'hm',
        extra: finish.extra,
        calls: calls.map(({ type: _, ...call }) => call),
      },
      ...calls.map(({ call, name }): Message => ({ role: 'tool', call, name, content: 'rain' })),
    ]
    const { body } = await sent({ apiKey: 'k' }, { messages, tools: [look, bare] })
    expect(problemIn('gemini', body)).toBeUndefined()
    expect(body['contents']).toEqual([
      { role: 'user', parts: [{ text: 'weather?' }] },
      {
        role: 'model',
        parts: [
          { text: 'Let me see.', thoughtSignature: 'dGV4dA==' },
          {
            functionCall: { id: 'fc-1', name: 'look', args: { city: 'Oslo' } },
            thoughtSignature: signatureOf('look'),
          },
          { functionCall: { name: '_2look', args: {} } },
        ],
      },
      {
        role: 'user',
        parts: [
          { functionResponse: { id: 'fc-1', name: 'look', response: { output: 'rain' } } },
          { functionResponse: { name: '_2look', response: { output: 'rain' } } },
        ],
      },
    ])
  })

  const ends: [word: string, stop: string][] = [
    ['STOP', 'stop'],
    ['MAX_TOKENS', 'length'],
    ['OTHER', 'other'],
    ['FINISH_REASON_UNSPECIFIED', 'other'],
    ...['SAFETY', 'RECITATION', 'LANGUAGE', 'BLOCKLIST', 'PROHIBITED_CONTENT', 'SPII', 'IMAGE_SAFETY'].map(
      (word): [string, string] => [word, 'content_filtered'],
    ),
    ...['IMAGE_PROHIBITED_CONTENT', 'IMAGE_RECITATION'].map((word): [string, string] => [word, 'content_filtered']),
    ...['MALFORMED_FUNCTION_CALL', 'UNEXPECTED_TOOL_CALL', 'TOO_MANY_TOOL_CALLS', 'NO_IMAGE', 'IMAGE_OTHER'].map(
      (word): [string, string] => [word, 'provider_error'],
    ),
    ['MISSING_THOUGHT_SIGNATURE', 'provider_error'],
  ]
  test.each(ends)('that ends with %s ends as %s, with its usage', async (finishReason, expected) => {
    const usageMetadata = {
      promptTokenCount: 3,
      toolUsePromptTokenCount: 2,
      candidatesTokenCount: 4,
      thoughtsTokenCount: 6,
    }
    const { events, error } = await sent({ apiKey: 'k' }, {}, [{ ...chunk([], { finishReason }), usageMetadata }])
    expect(events).toContainEqual({ type: 'usage', input: 5, output: 10, thinking: 6 })
    const last = events.at(-1)
    expect(error === undefined ? last?.type === 'finish' && last.stop : (error as { code: string }).code).toBe(expected)
  })

  test('to a prompt that is blocked is content_filtered', async () => {
    const { error } = await sent({ apiKey: 'k' }, {}, [{ promptFeedback: { blockReason: 'SAFETY' } }])
    expect(error).toMatchObject({ code: 'content_filtered', retryable: false })
  })

  test('without a finish reason is truncated', async () => {
    const { error } = await sent({ apiKey: 'k' }, {}, [chunk([{ text: 'a' }])])
    expect(error).toMatchObject({ code: 'truncated' })
  })
})

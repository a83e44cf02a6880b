import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type AnthropicOptions, anthropic } from '../../../server/models/anthropic.ts'
import type { Message, ModelRequest } from '../../../server/models/model.ts'
import type { ModelSettings } from '../../../server/models/model-settings.ts'
import { outputWords } from '../../../server/models/output-words.ts'
import { providerSuite } from '../../conformance/model.ts'
import { limitsSuite } from '../../conformance/provider-limits.ts'
import { readToEnd } from '../../helpers/read-all.ts'
import { problemIn, signatureOf } from '../../helpers/strict-request.ts'

const CANARY = 'sk-ant-canary-7c1f0b'

providerSuite({
  provider: 'anthropic',
  make: (name, host, options) => anthropic(name, { ...options, apiKey: CANARY, baseURL: host, env: {} }),
  canary: CANARY,
  streamsArgs: true,
})

limitsSuite({
  provider: 'anthropic',
  make: (name, host, options) => anthropic(name, { ...options, baseURL: host, env: {} }),
})

describe('anthropic() before anything is sent', () => {
  const wrong: [what: string, name: string, options: AnthropicOptions, says: string][] = [
    ['a key that is missing', 'claude', {}, 'anthropic:claude needs a key: set ANTHROPIC_API_KEY'],
    ['a name that is missing', '', { apiKey: 'sk-1' }, 'anthropic:claude-sonnet-5-5'],
    ['a key with a line break', 'm', { apiKey: 'sk-secret\nX: 1' }, '`apiKey` has characters'],
    [
      'a base URL that is none',
      'm',
      { env: { ANTHROPIC_BASE_URL: 'secret' } },
      'ANTHROPIC_BASE_URL must be an address',
    ],
    ['a base URL with a password', 'm', { baseURL: 'http://me:secret@host' }, 'must not contain a password'],
    ['an option that it does not have', 'm', { apiKey: 'sk-1', temperature: 1 } as never, 'temperature'],
  ]
  for (const [what, name, options, says] of wrong) {
    test(`refuses ${what}, without repeating it`, () => {
      expect(() => anthropic(name, { env: {}, ...options })).toThrow(
        expect.objectContaining({
          code: 'bad_request',
          message: expect.toSatisfy((message: string) => message.includes(says) && !message.includes('secret')),
        }),
      )
    })
  }
})

type Sent = { url: string; headers: Headers; body: Record<string, unknown> }

const named = (event: { type: string; [member: string]: unknown }): string =>
  `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
const ended = (stop: string): string =>
  named({ type: 'message_delta', delta: { stop_reason: stop }, usage: { output_tokens: 2 } }) +
  named({ type: 'message_stop' })
const started = named({ type: 'message_start', message: { usage: { input_tokens: 3, output_tokens: 1 } } })

/** What a model sends, without a network, and what it says to `answers`, one each request. */
async function sent(options: AnthropicOptions, request: Partial<ModelRequest> = {}, answers = [ended('end_turn')]) {
  const all: Sent[] = []
  const model = anthropic('m', {
    env: {},
    maxRetries: 0,
    ...options,
    fetch: async (input, init) => {
      const request = new Request(input, init)
      const body = (await request.json()) as Record<string, unknown>
      all.push({ url: request.url, headers: request.headers, body })
      return new Response(answers[all.length - 1])
    },
  })
  const { signal } = new AbortController()
  const { events, error } = await readToEnd(
    model.stream({ messages: [{ role: 'user', content: 'hi' }], signal, ...request }),
  )
  return { ...all[0]!, all, events, error, model }
}

describe('the key of anthropic()', () => {
  const env = { ANTHROPIC_API_KEY: 'sk-env' }

  test.each<[string, AnthropicOptions, string | null]>([
    ['goes from the environment to Anthropic', { env }, 'Bearer sk-env'],
    ['goes to the server of the environment', { env: { ...env, ANTHROPIC_BASE_URL: 'http://proxy' } }, 'Bearer sk-env'],
    ['of the environment stays away from any other server', { env, baseURL: 'http://other' }, null],
    ['goes where it is passed', { env, baseURL: 'http://other', apiKey: 'sk-own' }, 'Bearer sk-own'],
    ['may come in a header', { headers: { 'X-Api-Key': 'own' } }, null],
  ])('%s', async (_, options, expected) => {
    const { headers, error } = await sent(options)
    expect(error).toBeUndefined()
    expect(headers.get('authorization')).toBe(expected)
  })

  test('of custom headers of the environment stays away from any other server', async () => {
    process.env['ANTHROPIC_CUSTOM_HEADERS'] = 'x-gateway-key: swordfish'
    try {
      expect((await sent({ env })).headers.get('x-gateway-key')).toBe('swordfish')
      expect((await sent({ env, baseURL: 'http://other' })).headers.get('x-gateway-key')).toBeNull()
    } finally {
      delete process.env['ANTHROPIC_CUSTOM_HEADERS']
    }
  })
})

const look = { name: 'look', description: 'Looks', parameters: { type: 'object', properties: {} } }

describe('the settings of a request to anthropic()', () => {
  test('are sent in the words of the API, and those that it lacks are named', async () => {
    const settings: ModelSettings = {
      temperature: 0.1,
      topP: 0.5,
      maxTokens: 9,
      stop: ['END'],
      seed: 4,
      toolChoice: 'auto',
      effort: 'minimal',
      parallelToolCalls: false,
    }
    const { body, events } = await sent({ apiKey: 'sk-1' }, { ...settings, tools: [look] })
    expect(body).toEqual({
      model: 'm',
      stream: true,
      max_tokens: 9,
      stop_sequences: ['END'],
      messages: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }],
      tools: [{ name: 'look', description: 'Looks', input_schema: look.parameters }],
      tool_choice: { type: 'auto', disable_parallel_tool_use: true },
      thinking: { type: 'adaptive', display: 'summarized' },
      output_config: { effort: 'low' },
    })
    expect(events[0]).toEqual({
      type: 'warning',
      code: 'unsupported_setting',
      message: 'anthropic has no temperature, no topP, no seed: the model answers without',
    })
  })

  test.each<[ModelSettings['toolChoice'], unknown]>([
    ['none', { type: 'none' }],
    ['required', { type: 'any' }],
    [{ tool: 'look' }, { type: 'tool', name: 'look' }],
  ])('make of the tool choice %j the choice %j, which thinking would exclude', async (toolChoice, expected) => {
    const { body } = await sent({ apiKey: 'sk-1' }, { tools: [look], toolChoice, effort: 'high' })
    expect(body['tool_choice']).toEqual(expected)
    expect(problemIn('anthropic', body)).toBeUndefined()
  })

  test('turn thinking off with the effort none', async () => {
    const { body } = await sent({ apiKey: 'sk-1' }, { effort: 'none' })
    expect(body).toMatchObject({ thinking: { type: 'disabled' } })
    expect(body).not.toHaveProperty('output_config')
  })

  test('are those of the option body in the end', async () => {
    const { body } = await sent({ apiKey: 'sk-1', body: { max_tokens: 5, temperature: 1 } }, { maxTokens: 9 })
    expect(body).toMatchObject({ max_tokens: 5, temperature: 1 })
  })
})

describe('the output of a request to anthropic()', () => {
  const outputOf = (schema: z.ZodType) => ({ name: 'output', schema: z.toJSONSchema(schema, { io: 'input' }) })

  test('is sent closed and without the keywords that the API refuses, beside the effort', async () => {
    const output = outputOf(z.object({ city: z.string().min(1).optional(), n: z.int().min(0).max(9) }))
    const { body } = await sent({ apiKey: 'sk-1' }, { output, effort: 'low' })
    expect(body['output_config']).toEqual({
      effort: 'low',
      format: {
        type: 'json_schema',
        schema: {
          type: 'object',
          properties: { city: { type: 'string' }, n: { type: 'integer' } },
          required: ['n'],
          additionalProperties: false,
        },
      },
    })
    expect(problemIn('anthropic', body)).toBeUndefined()
  })

  const tree: z.ZodType = z.object({ name: z.string(), below: z.lazy(() => z.array(tree)) })
  test.each([
    ['has members of any name', z.object({ prices: z.record(z.string(), z.number()) })],
    ['has a tuple', z.object({ at: z.tuple([z.number(), z.number()]) })],
    ['is recursive', tree],
    ['is recursive deep below', z.object({ tree })],
  ])('is told in words, behind the instructions, where the schema %s', async (_, schema) => {
    const output = outputOf(schema)
    const messages: Message[] = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'hi' },
    ]
    const { body } = await sent({ apiKey: 'sk-1' }, { output, messages })
    expect(body).not.toHaveProperty('output_config')
    expect(body['system']).toBe(`Be brief.\n\n${outputWords(output.schema)}`)
    expect(problemIn('anthropic', body)).toBeUndefined()
  })

  test('is enforced at Anthropic, and told in words elsewhere, unless you say otherwise', () => {
    const env = {}
    expect(anthropic('m', { env, apiKey: 'sk-1' }).structured).toBe('enforced')
    expect(anthropic('m', { env, baseURL: 'http://host' }).structured).toBe('none')
    expect(anthropic('m', { env, baseURL: 'http://host', structured: 'enforced' }).structured).toBe('enforced')
  })
})

describe('a conversation for anthropic()', () => {
  const odd: [what: string, messages: Message[]][] = [
    ['with nothing but a system message', [{ role: 'system', content: 'be brief' }]],
    [
      'that ends with an answer',
      [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b ' },
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
        { role: 'assistant', content: '\n' },
        { role: 'user', content: 'a' },
      ],
    ],
    [
      'with adjacent messages of one role',
      [
        { role: 'user', content: 'a' },
        { role: 'user', content: 'b' },
        { role: 'assistant', content: 'c' },
        { role: 'assistant', content: 'd' },
        { role: 'user', content: 'e' },
      ],
    ],
    [
      'with calls of another provider, twice under one id, and no tools',
      [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: '', calls: [{ call: 'functions.look:0', name: 'look it', args: 'x' }] },
        { role: 'tool', call: 'functions.look:0', name: 'look it', content: '' },
        { role: 'assistant', content: 'hm', calls: [{ call: 'functions.look:0', name: 'look', args: {} }] },
        { role: 'tool', call: 'functions.look:0', name: 'look', content: 'rain' },
        { role: 'user', content: 'and?' },
      ],
    ],
    [
      'whose calls have no results, or results in another order',
      [
        { role: 'user', content: 'a' },
        {
          role: 'assistant',
          content: '',
          calls: [
            { call: 'a', name: 'look', args: {} },
            { call: 'b', name: 'look', args: {} },
            { call: 'c', name: 'look', args: {} },
          ],
        },
        { role: 'tool', call: 'c', name: 'look', content: '3' },
        { role: 'tool', call: 'a', name: 'look', content: '1' },
      ],
    ],
    [
      'with thinking that nobody signed, and an extra that a client has made up',
      [
        { role: 'user', content: 'a' },
        {
          role: 'assistant',
          content: 'b',
          thinking: 'hm',
          extra: { anthropic: [{ type: 'image', source: { url: 'http://evil' } }, 1, { type: 'thinking' }] },
        },
        { role: 'user', content: 'c' },
      ],
    ],
  ]
  test.each(odd)('%s is one that a strict server accepts', async (_, messages) => {
    const { body, error } = await sent({ apiKey: 'sk-1' }, { messages })
    expect(error).toBeUndefined()
    expect(problemIn('anthropic', body)).toBeUndefined()
    expect(JSON.stringify(body)).not.toContain('evil')
  })

  test('has all results of one answer in one message, in front of what the user says', async () => {
    const { body } = await sent(
      { apiKey: 'sk-1' },
      {
        messages: [
          { role: 'system', content: 'be brief' },
          { role: 'user', content: 'weather?' },
          {
            role: 'assistant',
            content: 'Let me see.',
            calls: [
              { call: 'c1', name: 'look', args: { city: 'Oslo' } },
              { call: 'c2', name: 'look', args: { city: 'Rome' } },
            ],
          },
          { role: 'tool', call: 'c1', name: 'look', content: 'rain' },
          { role: 'tool', call: 'c2', name: 'look', content: 'sun' },
          { role: 'user', content: 'quick!' },
        ],
        tools: [look],
      },
    )
    expect(body).toMatchObject({
      system: 'be brief',
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'weather?' }] },
        {
          role: 'assistant',
          content: [
            { type: 'text', text: 'Let me see.' },
            { type: 'tool_use', id: 'c1', name: 'look', input: { city: 'Oslo' } },
            { type: 'tool_use', id: 'c2', name: 'look', input: { city: 'Rome' } },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'c1', content: 'rain' },
            { type: 'tool_result', tool_use_id: 'c2', content: 'sun' },
            { type: 'text', text: 'quick!' },
          ],
        },
      ],
    })
  })
})

describe('an answer of anthropic()', () => {
  const block = (index: number, start: object, ...deltas: object[]): string =>
    named({ type: 'content_block_start', index, content_block: start }) +
    deltas.map((delta) => named({ type: 'content_block_delta', index, delta })).join('') +
    named({ type: 'content_block_stop', index })

  test('keeps signed and redacted thinking, and sends it back in its place', async () => {
    const answer =
      started +
      block(
        0,
        { type: 'thinking', thinking: '', signature: '' },
        { type: 'thinking_delta', thinking: 'hm' },
        { type: 'signature_delta', signature: signatureOf('hm') },
      ) +
      block(1, { type: 'redacted_thinking', data: 'c2VjcmV0' }) +
      block(
        2,
        { type: 'text', text: '' },
        { type: 'text_delta', text: 'Let me ' },
        { type: 'text_delta', text: 'see.' },
      ) +
      block(
        3,
        { type: 'tool_use', id: 'toolu_1', name: 'look', input: {} },
        { type: 'input_json_delta', partial_json: '{"city"' },
        { type: 'input_json_delta', partial_json: ':"Oslo"}' },
      ) +
      block(
        4,
        { type: 'thinking', thinking: '', signature: '' },
        { type: 'signature_delta', signature: signatureOf('') },
      ) +
      block(5, { type: 'tool_use', id: 'toolu_2', name: 'look', input: {} }) +
      ended('tool_use')
    const { events } = await sent({ apiKey: 'sk-1' }, { tools: [look] }, [answer])
    const calls = events.filter((event) => event.type === 'tool.call')
    expect(calls).toEqual([
      { type: 'tool.call', call: 'toolu_1', name: 'look', args: { city: 'Oslo' } },
      { type: 'tool.call', call: 'toolu_2', name: 'look', args: {} },
    ])
    const finish = events.at(-1) as Extract<(typeof events)[number], { type: 'finish' }>
    const message: Message = {
      role: 'assistant',
      content: 'Let me see.',
      thinking: 'hm',
      // As a client or a database gives it back.
      extra: JSON.parse(JSON.stringify(finish.extra)) as NonNullable<typeof finish.extra>,
      calls: calls.map(({ call, name, args }) => ({ call, name, args })),
    }
    const results = calls.map(({ call, name }): Message => ({ role: 'tool', call, name, content: 'rain' }))
    const messages: Message[] = [{ role: 'user', content: 'weather?' }, message, ...results]
    const { body } = await sent({ apiKey: 'sk-1' }, { messages, tools: [look] })
    expect(problemIn('anthropic', body)).toBeUndefined()
    expect((body['messages'] as unknown[])[1]).toEqual({
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'hm', signature: signatureOf('hm') },
        { type: 'redacted_thinking', data: 'c2VjcmV0' },
        { type: 'text', text: 'Let me see.' },
        { type: 'tool_use', id: 'toolu_1', name: 'look', input: { city: 'Oslo' } },
        { type: 'thinking', thinking: '', signature: signatureOf('') },
        { type: 'tool_use', id: 'toolu_2', name: 'look', input: {} },
      ],
    })
  })

  test('that pauses goes on with what it has said, and its usage is that of all requests', async () => {
    const search = { type: 'server_tool_use', id: 'srv_1', name: 'web_search', input: {} }
    const paused =
      started +
      block(0, { type: 'text', text: '' }, { type: 'text_delta', text: 'I search. ' }) +
      block(1, search, { type: 'input_json_delta', partial_json: '{"query":"rain"}' }) +
      ended('pause_turn')
    const rest =
      started + block(0, { type: 'text', text: '' }, { type: 'text_delta', text: 'Rain.' }) + ended('end_turn')
    const { all, events, error } = await sent({ apiKey: 'sk-1' }, {}, [paused, paused, rest])
    expect(error).toBeUndefined()
    expect(events).toEqual([
      { type: 'text', text: 'I search. ' },
      { type: 'usage', input: 3, output: 2 },
      { type: 'text', text: 'I search. ' },
      { type: 'usage', input: 3, output: 2 },
      { type: 'text', text: 'Rain.' },
      { type: 'usage', input: 3, output: 2 },
      { type: 'finish', stop: 'stop' },
    ])
    const said = [
      { type: 'text', text: 'I search. ' },
      { ...search, input: { query: 'rain' } },
    ]
    expect(all.map(({ body }) => (body['messages'] as unknown[])[1])).toEqual([
      undefined,
      { role: 'assistant', content: said },
      { role: 'assistant', content: [...said, ...said] },
    ])
  })

  test('that pauses for ever ends with a warning', async () => {
    const paused = started + block(0, { type: 'text', text: 'x' }) + ended('pause_turn')
    const { all, events } = await sent(
      { apiKey: 'sk-1' },
      {},
      Array.from({ length: 20 }, () => paused),
    )
    expect(all).toHaveLength(17)
    expect(events.slice(-2)).toMatchObject([{ type: 'warning' }, { type: 'finish', stop: 'other' }])
  })

  test('counts cached and thinking tokens, the latest total of each', async () => {
    const usage = { input_tokens: 1, cache_creation_input_tokens: 2, cache_read_input_tokens: 4, output_tokens: 1 }
    const answer =
      named({ type: 'message_start', message: { usage } }) +
      named({
        type: 'message_delta',
        delta: { stop_reason: 'end_turn' },
        usage: { output_tokens: 30, output_tokens_details: { thinking_tokens: 20 } },
      }) +
      named({ type: 'message_stop' })
    const { events } = await sent({ apiKey: 'sk-1' }, {}, [answer])
    expect(events[0]).toEqual({ type: 'usage', input: 7, output: 30, cached: 4, thinking: 20 })
  })

  test('that was not streamed is read as well', async () => {
    const message = {
      type: 'message',
      content: [
        { type: 'text', text: 'Rain.' },
        { type: 'tool_use', id: 'a', name: 'look', input: { city: 'Oslo' } },
      ],
      stop_reason: 'tool_use',
      usage: { input_tokens: 3, output_tokens: 4 },
    }
    const { events } = await sent({ apiKey: 'sk-1' }, {}, [JSON.stringify(message)])
    expect(events).toEqual([
      { type: 'text', text: 'Rain.' },
      { type: 'tool.call', call: 'a', name: 'look', args: { city: 'Oslo' } },
      { type: 'usage', input: 3, output: 4 },
      { type: 'finish', stop: 'tool_calls' },
    ])
  })

  test('needs message_stop, and has its usage without it', async () => {
    const delta = named({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 2 } })
    const { events, error } = await sent({ apiKey: 'sk-1' }, {}, [started + delta])
    expect(error).toMatchObject({ code: 'truncated' })
    expect(events).toEqual([{ type: 'usage', input: 3, output: 2 }])
  })
})

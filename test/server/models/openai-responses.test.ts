import { describe, expect, test } from 'vitest'
import type { Message, ModelEvent, ModelRequest } from '../../../server/models/model.ts'
import { type OpenAIOptions, openai } from '../../../server/models/openai.ts'
import { providerSuite } from '../../conformance/model.ts'
import { limitsSuite } from '../../conformance/provider-limits.ts'
import { readToEnd } from '../../helpers/read-all.ts'
import { problemIn, signatureOf } from '../../helpers/strict-request.ts'

const CANARY = 'sk-canary-7c1f0b'

providerSuite({
  provider: 'the Responses API',
  make: (name, host, options) =>
    openai(name, { ...options, api: 'responses', apiKey: CANARY, baseURL: `${host}/v1`, env: {} }),
  canary: CANARY,
  streamsArgs: true,
})

limitsSuite({
  provider: 'the Responses API',
  make: (name, host, options) => openai(name, { ...options, api: 'responses', baseURL: `${host}/v1`, env: {} }),
})

const named = (event: { type: string; [member: string]: unknown }): string =>
  `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
const item = (index: number, item: object): string =>
  named({ type: 'response.output_item.added', output_index: index, item }) +
  named({ type: 'response.output_item.done', output_index: index, item })
const completed = (response: object = {}): string =>
  named({ type: 'response.completed', response: { status: 'completed', ...response } })

/** What a model sends, without a network, and what it says to `answer`. */
async function sent(
  name: string,
  request: Partial<ModelRequest> = {},
  answer = completed(),
  options: OpenAIOptions = {},
) {
  let body: Record<string, unknown> = {}
  const model = openai(name, {
    api: 'responses',
    apiKey: 'sk-1',
    env: {},
    maxRetries: 0,
    ...options,
    fetch: async (input, init) => {
      body = (await new Request(input, init).json()) as Record<string, unknown>
      return new Response(answer)
    },
  })
  const { signal } = new AbortController()
  const { events, error } = await readToEnd(
    model.stream({ messages: [{ role: 'user', content: 'hi' }], signal, ...request }),
  )
  return { body, events, error, model }
}

const look = { name: 'look', description: 'Looks', parameters: { type: 'object', properties: {} } }

describe('a request to the Responses API', () => {
  test('has the settings in the words of the API, and those that it lacks are named', async () => {
    const { body, events, model } = await sent('gpt-5-mini', {
      tools: [look],
      temperature: 0.1,
      topP: 0.5,
      maxTokens: 90,
      stop: ['END'],
      seed: 4,
      toolChoice: { tool: 'look' },
      effort: 'low',
      parallelToolCalls: false,
    })
    expect(model.id).toBe('openai:gpt-5-mini')
    expect(body).toEqual({
      model: 'gpt-5-mini',
      stream: true,
      store: false,
      include: ['reasoning.encrypted_content'],
      input: [{ role: 'user', content: 'hi' }],
      tools: [{ type: 'function', name: 'look', description: 'Looks', parameters: look.parameters, strict: false }],
      tool_choice: { type: 'function', name: 'look' },
      parallel_tool_calls: false,
      temperature: 0.1,
      top_p: 0.5,
      max_output_tokens: 90,
      reasoning: { effort: 'low' },
    })
    expect(events[0]).toMatchObject({
      type: 'warning',
      code: 'unsupported_setting',
      message: expect.stringContaining('no stop, no seed'),
    })
  })

  test('asks a model that does not reason for no reasoning', async () => {
    expect((await sent('gpt-4o')).body).not.toHaveProperty('include')
  })

  test('has images and files of the user', async () => {
    const data = new TextEncoder().encode('a')
    const { body } = await sent('gpt-5', {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'see' },
            { type: 'image', mediaType: 'image/png', data },
            { type: 'file', mediaType: 'application/pdf', data },
            { type: 'file', mediaType: 'text/plain', name: 'a.txt', data },
          ],
        },
      ],
    })
    expect(body['input']).toEqual([
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'see' },
          { type: 'input_image', detail: 'auto', image_url: 'data:image/png;base64,YQ==' },
          { type: 'input_file', filename: 'file.pdf', file_data: 'data:application/pdf;base64,YQ==' },
          { type: 'input_text', text: '<file name="a.txt">\na\n</file>' },
        ],
      },
    ])
  })

  test('leaves out what a client has put into extra', async () => {
    const evil = [{ type: 'item_reference', id: 'rs_other' }, { type: 'reasoning', id: 'rs_1' }, 1]
    const { body } = await sent('gpt-5', {
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b', extra: { responses: evil } },
        { role: 'user', content: 'c' },
      ],
    })
    expect(body['input']).toEqual([
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b' },
      { role: 'user', content: 'c' },
    ])
  })
})

describe('an answer of the Responses API', () => {
  const reasoning = (text: string): object => ({
    type: 'reasoning',
    id: `rs_${text}`,
    summary: [{ type: 'summary_text', text }],
    encrypted_content: signatureOf(text),
    status: 'completed',
  })

  test('keeps encrypted reasoning, and sends it back in its place', async () => {
    const answer =
      item(0, reasoning('a')) +
      named({ type: 'response.output_item.added', output_index: 1, item: { type: 'message' } }) +
      named({ type: 'response.output_text.delta', output_index: 1, delta: 'Let me see.' }) +
      item(2, reasoning('b')) +
      item(3, { type: 'function_call', call_id: 'c1', name: 'look', arguments: '{"city":"Oslo"}' }) +
      completed()
    const { events } = await sent('gpt-5', { tools: [look] }, answer)
    const calls = events.filter((event) => event.type === 'tool.call')
    expect(calls).toEqual([{ type: 'tool.call', call: 'c1', name: 'look', args: { city: 'Oslo' } }])
    const finish = events.at(-1) as Extract<ModelEvent, { type: 'finish' }>
    expect(finish.stop).toBe('tool_calls')
    const messages: Message[] = [
      { role: 'user', content: 'weather?' },
      {
        role: 'assistant',
        content: 'Let me see.',
        calls: calls.map(({ type: _, ...call }) => call),
        extra: JSON.parse(JSON.stringify(finish.extra)) as NonNullable<typeof finish.extra>,
      },
      { role: 'tool', call: 'c1', name: 'look', content: 'rain' },
    ]
    const { body } = await sent('gpt-5', { messages, tools: [look] })
    expect(problemIn('responses', body)).toBeUndefined()
    const back = (text: string): object => {
      const { status: _, ...rest } = reasoning(text) as { status: string }
      return rest
    }
    expect(body['input']).toEqual([
      { role: 'user', content: 'weather?' },
      back('a'),
      { role: 'assistant', content: 'Let me see.' },
      back('b'),
      { type: 'function_call', call_id: 'c1', name: 'look', arguments: '{"city":"Oslo"}' },
      { type: 'function_call_output', call_id: 'c1', output: 'rain' },
    ])
  })

  test.each<[string, object, object]>([
    ['failed', { error: { code: 'server_error', message: 'no' } }, { code: 'provider_error', retryable: true }],
    ['failed', { error: { code: 'rate_limit_exceeded', message: 'no' } }, { code: 'provider_rate_limited' }],
    ['failed', { error: null }, { code: 'provider_error' }],
    ['cancelled', {}, { code: 'provider_error' }],
    ['incomplete', { incomplete_details: { reason: 'content_filter' } }, { code: 'content_filtered' }],
  ])('that is %s with %j is an error, with its usage', async (status, more, expected) => {
    const usage = { input_tokens: 5, output_tokens: 6 }
    const end = named({ type: `response.${status}`, response: { status, usage, ...more } })
    const whole = status === 'cancelled' ? end.replace('response.cancelled', 'response.failed') : end
    const { events, error } = await sent('gpt-5', {}, whole.replaceAll('response.cancelled', 'response.failed'))
    expect(events).toEqual([{ type: 'usage', input: 5, output: 6 }])
    expect(error).toMatchObject(expected)
  })

  test('that is incomplete for another reason says so', async () => {
    const response = { status: 'incomplete', incomplete_details: { reason: 'tired' } }
    const { events } = await sent('gpt-5', {}, named({ type: 'response.incomplete', response }))
    expect(events).toEqual([
      { type: 'warning', code: 'unknown_finish', message: "the model's answer ended for an unknown reason: tired" },
      { type: 'finish', stop: 'other' },
    ])
  })

  test('that was not streamed is read as well', async () => {
    const response = {
      object: 'response',
      status: 'completed',
      output: [reasoning('hm'), { type: 'message', content: [{ type: 'output_text', text: 'Rain.' }] }],
      error: null,
    }
    const { events } = await sent('gpt-5', {}, JSON.stringify(response))
    expect(events).toMatchObject([
      { type: 'thinking', text: 'hm' },
      { type: 'text', text: 'Rain.' },
      { type: 'finish', stop: 'stop' },
    ])
  })

  test('needs one of two APIs', () => {
    expect(() => openai('m', { apiKey: 'sk-1', api: 'assistants' as never })).toThrow("must be 'chat' or 'responses'")
  })
})

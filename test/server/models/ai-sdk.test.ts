import { MockLanguageModelV3, MockLanguageModelV4 } from 'ai/test'
import { describe, expect, test, vi } from 'vitest'
import { type AISDKModel, fromAISDK } from '../../../server/models/ai-sdk.ts'
import type { Message, ModelEvent, ModelRequest } from '../../../server/models/model.ts'
import { providerSuite } from '../../conformance/model.ts'
import { readToEnd } from '../../helpers/read-all.ts'
import { sdkModel } from '../../helpers/sdk-model.ts'

const CANARY = 'sk-canary-7c1f0b'

providerSuite({
  provider: 'the AI SDK',
  make: (name, host, options) => fromAISDK(sdkModel(name, host, CANARY), options),
  canary: CANARY,
  streamsArgs: true,
  skipsMalformed: false,
})

type Parts = readonly object[]

const USAGE = {
  inputTokens: { total: 5, noCache: 1, cacheRead: 4, cacheWrite: 0 },
  outputTokens: { total: 6, text: 4, reasoning: 2 },
}
const end = (unified: string, usage: object = USAGE): object => ({
  type: 'finish',
  finishReason: { unified, raw: unified },
  usage,
})

/** What a model of that version is asked, and what it says to these parts. */
async function asked(version: 'v2' | 'v3' | 'v4', request: Partial<ModelRequest>, parts: Parts = [end('stop')]) {
  let options: { prompt?: unknown; abortSignal?: AbortSignal; [name: string]: unknown } = {}
  const model: AISDKModel = {
    specificationVersion: version,
    provider: 'sdk.chat',
    modelId: 'm',
    doStream: async (given: typeof options) => {
      options = given
      return { stream: ReadableStream.from(parts) }
    },
  }
  const { signal } = new AbortController()
  const made = fromAISDK(model, { maxRetries: 0, providerOptions: { sdk: { store: false } } })
  const said = await readToEnd(made.stream({ messages: [{ role: 'user', content: 'hi' }], signal, ...request }))
  return { options, made, ...said }
}

const look = { name: 'look', description: 'Looks', parameters: { properties: {} } }

describe('fromAISDK()', () => {
  test('takes the models of the AI SDK as they are typed', () => {
    expect(fromAISDK(new MockLanguageModelV3({ provider: 'p', modelId: 'm' }))).toMatchObject({
      id: 'p:m',
      provider: 'p',
    })
    expect(fromAISDK(new MockLanguageModelV4({ provider: 'p', modelId: 'm' }), { id: 'own' }).id).toBe('own')
  })

  test.each([undefined, {}, { specificationVersion: 'v9', doStream: () => undefined }, 'openai/gpt-5'])(
    'refuses %j, which is no such model',
    (model) => {
      expect(() => fromAISDK(model as never)).toThrow('fromAISDK() needs a language model')
    },
  )

  test('passes on settings and tools, and names those that the version lacks', async () => {
    const request: Partial<ModelRequest> = {
      tools: [look],
      temperature: 0.1,
      topP: 0.5,
      maxTokens: 9,
      stop: ['END'],
      seed: 4,
      toolChoice: { tool: 'look' },
      effort: 'low',
      parallelToolCalls: false,
    }
    const { options, events } = await asked('v3', request)
    const { abortSignal, ...rest } = options
    expect(abortSignal).toBeInstanceOf(AbortSignal)
    expect(rest).toEqual({
      prompt: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }],
      tools: [
        { type: 'function', name: 'look', description: 'Looks', inputSchema: { type: 'object', properties: {} } },
      ],
      toolChoice: { type: 'tool', toolName: 'look' },
      temperature: 0.1,
      topP: 0.5,
      maxOutputTokens: 9,
      stopSequences: ['END'],
      seed: 4,
      providerOptions: { sdk: { store: false } },
    })
    expect(events[0]).toMatchObject({
      message: 'sdk.chat has no effort, no parallelToolCalls: the model answers without',
    })
    expect((await asked('v4', { effort: 'low' })).options).toMatchObject({ reasoning: 'low' })
  })

  test.each(['v3', 'v4'] as const)('of %s passes on images and files', async (version) => {
    const data = new Uint8Array([1])
    const url = new URL('https://a.example/a.png')
    const content = [
      { type: 'image', mediaType: 'image/png', data } as const,
      { type: 'image', url: url.href } as const,
      { type: 'file', mediaType: 'text/plain', data: new Uint8Array([97]), name: 'a' } as const,
    ]
    const { options } = await asked(version, { messages: [{ role: 'user', content }] })
    expect(options.prompt).toEqual([
      {
        role: 'user',
        content: [
          { type: 'file', mediaType: 'image/png', data: version === 'v4' ? { type: 'data', data } : data },
          { type: 'file', mediaType: 'image/*', data: version === 'v4' ? { type: 'url', url } : url },
          { type: 'text', text: '<file name="a">\na\n</file>' },
        ],
      },
    ])
  })

  test('keeps what the provider says about parts, and sends it back with them', async () => {
    const { events } = await asked('v3', { tools: [look] }, [
      { type: 'stream-start', warnings: [{ type: 'unsupported', feature: 'seed' }] },
      { type: 'reasoning-start', id: 'r' },
      { type: 'reasoning-delta', id: 'r', delta: 'hm' },
      { type: 'reasoning-end', id: 'r', providerMetadata: { sdk: { signature: 'sig' } } },
      { type: 'text-start', id: 't' },
      { type: 'text-delta', id: 't', delta: 'Let me ' },
      { type: 'text-delta', id: 't', delta: 'see.' },
      { type: 'text-end', id: 't', providerMetadata: { sdk: { itemId: 't1' } } },
      { type: 'tool-call', toolCallId: 'x', toolName: 'web', input: '{}', providerExecuted: true },
      { type: 'tool-input-start', id: 'c', toolName: 'look' },
      { type: 'tool-input-delta', id: 'c', delta: '{"a":1}' },
      {
        type: 'tool-call',
        toolCallId: 'c',
        toolName: 'look',
        input: '{"a":1}',
        providerMetadata: { sdk: { sig: 's' } },
      },
      { type: 'ping' },
      end('tool-calls'),
    ])
    const call = {
      call: 'c',
      name: 'look',
      args: { a: 1 },
      extra: { aiSDK: { providerOptions: { sdk: { sig: 's' } } } },
    }
    const finish = events.at(-1) as Extract<ModelEvent, { type: 'finish' }>
    expect(events).toEqual([
      { type: 'warning', code: 'unsupported_setting', message: 'sdk.chat has no seed: the model answers without' },
      { type: 'thinking', text: 'hm' },
      { type: 'text', text: 'Let me ' },
      { type: 'text', text: 'see.' },
      { type: 'tool.args', call: 'c', name: 'look', text: '{"a":1}' },
      { type: 'tool.call', ...call },
      { type: 'usage', input: 5, output: 6, cached: 4, thinking: 2 },
      { type: 'finish', stop: 'tool_calls', extra: finish.extra },
    ])
    const messages: Message[] = [
      { role: 'system', content: 'be brief' },
      { role: 'user', content: 'weather?' },
      { role: 'assistant', content: 'Let me see.', thinking: 'hm', calls: [call], extra: finish.extra },
      { role: 'tool', call: 'c', name: 'look', content: 'rain' },
      { role: 'user', content: 'quick!' },
    ]
    expect((await asked('v3', { messages })).options.prompt).toEqual([
      { role: 'system', content: 'be brief' },
      { role: 'user', content: [{ type: 'text', text: 'weather?' }] },
      {
        role: 'assistant',
        content: [
          { type: 'reasoning', text: 'hm', providerOptions: { sdk: { signature: 'sig' } } },
          { type: 'text', text: 'Let me see.', providerOptions: { sdk: { itemId: 't1' } } },
          {
            type: 'tool-call',
            toolCallId: 'c',
            toolName: 'look',
            input: { a: 1 },
            providerOptions: { sdk: { sig: 's' } },
          },
        ],
      },
      {
        role: 'tool',
        content: [{ type: 'tool-result', toolCallId: 'c', toolName: 'look', output: { type: 'text', value: 'rain' } }],
      },
      { role: 'user', content: [{ type: 'text', text: 'quick!' }] },
    ])
  })

  test('reads the usage and the reason of version 2', async () => {
    const usage = { inputTokens: 5, outputTokens: 6, totalTokens: 11, reasoningTokens: 2, cachedInputTokens: 4 }
    const { events } = await asked('v2', {}, [{ type: 'finish', finishReason: 'length', usage }])
    expect(events).toEqual([
      { type: 'usage', input: 5, output: 6, cached: 4, thinking: 2 },
      { type: 'finish', stop: 'length' },
    ])
  })

  test.each<[string, Parts, string]>([
    ['content-filter', [end('content-filter')], 'content_filtered'],
    ['error', [end('error')], 'provider_error'],
    ['no finish', [{ type: 'text-delta', id: 't', delta: 'a' }], 'truncated'],
    ['no reason and no usage', [end('other', {})], 'truncated'],
  ])('ends an answer with %s as an error', async (_, parts, code) => {
    expect((await asked('v3', {}, parts)).error).toMatchObject({ name: 'MillraceError', code })
  })

  test('reports a key that the provider has not got as a fault of the configuration', async () => {
    const doStream = () => Promise.reject(Object.assign(new Error('secret'), { name: 'AI_LoadAPIKeyError' }))
    const model = fromAISDK({ specificationVersion: 'v3', provider: 'p', modelId: 'm', doStream })
    const { signal } = new AbortController()
    const { error } = await readToEnd(model.stream({ messages: [{ role: 'user', content: 'hi' }], signal }))
    expect(error).toMatchObject({ code: 'bad_request', message: 'the provider has no key: set it' })
  })

  test('stops at an abort though the provider ignores its signal, and cancels the stream that comes late', async () => {
    const cancel = vi.fn()
    let arrive: (late: { stream: ReadableStream }) => void = () => {}
    const late = new Promise<{ stream: ReadableStream }>((resolve) => (arrive = resolve))
    const model = fromAISDK({ specificationVersion: 'v3', provider: 'p', modelId: 'm', doStream: () => late })
    const controller = new AbortController()
    const reading = readToEnd(model.stream({ messages: [{ role: 'user', content: 'hi' }], signal: controller.signal }))
    const reason = new Error('stop')
    setImmediate(() => controller.abort(reason))
    expect(await reading).toEqual({ events: [], error: reason })
    arrive({ stream: new ReadableStream({ cancel }) })
    await expect.poll(() => cancel.mock.calls.length).toBe(1)
  })
})

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ModelEvent, ModelRequest } from '../../../server/models/model.ts'
import { type OllamaOptions, ollama } from '../../../server/models/ollama.ts'
import { providerSuite } from '../../conformance/model.ts'
import { limitsSuite } from '../../conformance/provider-limits.ts'
import { FakeProvider } from '../../helpers/fake-provider.ts'
import type { Behaviour } from '../../helpers/fake-provider-wire.ts'
import { readToEnd } from '../../helpers/read-all.ts'

providerSuite({
  provider: 'ollama',
  make: (name, host, options) => ollama(name, { ...options, host, env: {} }),
  streamsArgs: false,
})

limitsSuite({
  provider: 'ollama',
  make: (name, host, options) => ollama(name, { ...options, host, env: {} }),
})

describe('ollama() before anything is sent', () => {
  test('needs a name', () => {
    expect(() => ollama('', { env: {} })).toThrow('ollama needs the name of a model, such as ollama:llama3.2')
  })

  test.each(['ftp://host', 'http://', 'a b'])('refuses the host %j and shows a valid one', (host) => {
    const rule = 'must be an address such as http://127.0.0.1:11434'
    expect(() => ollama('m', { host, env: {} })).toThrow(`\`host\` ${rule}`)
    expect(() => ollama('m', { env: { OLLAMA_HOST: host } })).toThrow(`OLLAMA_HOST ${rule}`)
  })
})

describe('the options of ollama()', () => {
  async function sent(options: OllamaOptions, settings: Partial<ModelRequest> = { temperature: 0.2, maxTokens: 7 }) {
    let sent: { headers: Headers; body: Record<string, unknown> } | undefined
    const model = ollama('m', {
      env: {},
      maxRetries: 0,
      ...options,
      fetch: async (input, init) => {
        const request = new Request(input, init)
        sent = { headers: request.headers, body: (await request.json()) as Record<string, unknown> }
        return new Response('{"message":{"role":"assistant","content":"hi"},"done":true,"done_reason":"stop"}\n')
      },
    })
    const { signal } = new AbortController()
    const { events, error } = await readToEnd(
      model.stream({ messages: [{ role: 'user', content: 'hi' }], signal, ...settings }),
    )
    expect(error).toBeUndefined()
    return { ...sent!, model, warnings: events.filter(({ type }) => type === 'warning') }
  }

  test('send the output of a request as the form of the answer, in place of their own', async () => {
    const schema = { type: 'object', properties: { city: { type: 'string' } } }
    const { body, model } = await sent({ format: 'json' }, { output: { name: 'output', schema } })
    expect([body['format'], model.structured]).toEqual([schema, 'best-effort'])
  })

  test('merge `options` last', async () => {
    const { body } = await sent({ options: { num_ctx: 8_192, temperature: 1 } })
    expect(body['options']).toEqual({ temperature: 1, num_predict: 7, num_ctx: 8_192 })
  })

  test('send how long the model stays loaded, and the form of its answer', async () => {
    const format = { type: 'object', properties: {} }
    expect((await sent({ keepAlive: '10m', format })).body).toMatchObject({ keep_alive: '10m', format })
    expect((await sent({ keepAlive: 0, format: 'json' })).body).toMatchObject({ keep_alive: 0, format: 'json' })
    expect(Object.keys((await sent({})).body).sort()).toEqual(['messages', 'model', 'options', 'stream'])
  })

  test('add headers, and give the model an id of its own', async () => {
    const { headers, model } = await sent({ headers: { authorization: 'Bearer proxy' }, id: 'local' })
    expect(headers.get('authorization')).toBe('Bearer proxy')
    expect(model).toMatchObject({ id: 'local', provider: 'ollama' })
  })

  const tools = [{ name: 'look', description: 'Looks', parameters: { type: 'object', properties: {} } }]

  test('send the settings of a request in the words of Ollama', async () => {
    const settings = { temperature: 0, topP: 0.5, maxTokens: 9, stop: ['END'], seed: 4 }
    const { body, warnings } = await sent({}, settings)
    expect(body['options']).toEqual({ temperature: 0, top_p: 0.5, num_predict: 9, stop: ['END'], seed: 4 })
    expect(warnings).toEqual([])
  })

  test.each([
    ['none', false],
    ['minimal', 'low'],
    ['high', 'high'],
  ] as const)('send the effort %s as the `think` %j, also where `think` is set', async (effort, think) => {
    expect((await sent({ think: true }, { effort })).body['think']).toBe(think)
  })

  test('send no tools with the tool choice `none`, and leave the choice to the model with `auto`', async () => {
    const none = await sent({}, { tools, toolChoice: 'none' })
    const auto = await sent({}, { tools, toolChoice: 'auto', parallelToolCalls: true })
    expect(none.body).not.toHaveProperty('tools')
    expect(auto.body['tools']).toHaveLength(1)
    expect([...none.warnings, ...auto.warnings]).toEqual([])
  })

  test('warn about settings that Ollama does not have, before anything else', async () => {
    const { body, warnings } = await sent({}, { tools, toolChoice: 'required', parallelToolCalls: false })
    expect(body['tools']).toHaveLength(1)
    const message = 'ollama has no toolChoice, no parallelToolCalls: the model answers without'
    expect(warnings).toEqual([{ type: 'warning', code: 'unsupported_setting', message }])
    expect((await sent({}, { toolChoice: 'required', parallelToolCalls: false })).warnings).toEqual([])
  })

  test('refuse a password in the host, without repeating it', () => {
    expect(() => ollama('m', { env: {}, host: 'http://me:secret@host' })).toThrow('pass it in `headers`')
  })
})

describe('ollama() on the wire', () => {
  let provider: FakeProvider
  beforeAll(async () => {
    provider = await FakeProvider.start()
  })
  afterAll(() => provider[Symbol.asyncDispose]())

  async function said(
    name: string,
    behaviour: Behaviour,
    request: Partial<ModelRequest> = {},
    options: OllamaOptions = {},
  ): Promise<{ events: ModelEvent[]; body: unknown; error?: unknown }> {
    await provider.behave(name, behaviour)
    const model = ollama(name, { env: { OLLAMA_HOST: provider.host }, maxRetries: 0, ...options })
    const { signal } = new AbortController()
    const messages = [{ role: 'user', content: 'hello' }] as const
    const read = await readToEnd(model.stream({ messages, signal, ...request }))
    return { ...read, body: (await provider.request(name)).body }
  }

  test('sends a conversation in its own form, with tools, limits and thinking', async () => {
    const { body } = await said(
      'whole',
      { tokens: 1 },
      {
        messages: [
          { role: 'system', content: 'be brief' },
          { role: 'user', content: 'weather?' },
          {
            role: 'assistant',
            content: '',
            thinking: 'hmm',
            calls: [{ call: 'c1', name: 'weather', args: { city: 'Oslo' } }],
          },
          { role: 'tool', call: 'c1', name: 'weather', content: 'rain' },
        ],
        tools: [{ name: 'weather', description: 'Weather now', parameters: { type: 'object' } }],
        temperature: 0.5,
        maxTokens: 100,
      },
      { think: 'low' },
    )
    expect(body).toEqual({
      model: 'whole',
      stream: true,
      think: 'low',
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: 'weather?' },
        {
          role: 'assistant',
          content: '',
          thinking: 'hmm',
          tool_calls: [{ function: { name: 'weather', arguments: { city: 'Oslo' } } }],
        },
        { role: 'tool', content: 'rain', tool_name: 'weather' },
      ],
      tools: [
        { type: 'function', function: { name: 'weather', description: 'Weather now', parameters: { type: 'object' } } },
      ],
      options: { temperature: 0.5, num_predict: 100 },
    })
  })

  test.each(['HOST', '127.0.0.1:PORT', ':PORT', '0.0.0.0:PORT', 'http://127.0.0.1:PORT/'])(
    'takes a host written as %s',
    async (form) => {
      const host = form.replace('HOST', provider.host).replace('PORT', new URL(provider.host).port)
      const { events } = await said(`at ${form}`, { tokens: 1 }, {}, { host })
      expect(events[0]).toEqual({ type: 'text', text: 't0 ' })
    },
  )

  test('says that an unknown model is to be pulled', async () => {
    const model = ollama('llama9', { host: provider.host, env: {} })
    const stream = model.stream({ messages: [], signal: new AbortController().signal })[Symbol.asyncIterator]()
    await expect(stream.next()).rejects.toMatchObject({
      code: 'bad_request',
      message: 'unknown model llama9 at the provider: get it with `ollama pull llama9`',
    })
  })

  test('gives an id to a call without one', async () => {
    const { events } = await said('calls', { calls: [{ name: 'now', args: '{"at":1}' }] })
    expect(events[0]).toEqual({
      type: 'tool.call',
      call: expect.stringMatching(/^call_.{20,}/),
      name: 'now',
      args: { at: 1 },
    })
    expect(events.at(-1)).toEqual({ type: 'finish', stop: 'tool_calls' })
  })

  test('counts malformed lines in one warning until the next good one', async () => {
    const { events } = await said('crooked', { raw: 'no\n7\n[]\n{"half\n' })
    expect(events[0]).toEqual({
      type: 'warning',
      code: 'malformed_line',
      message: "skipped 4 lines of the model's answer: malformed",
    })
    expect(events.at(-1)).toEqual({ type: 'finish', stop: 'stop' })
  })

  test('ignores lines of any other shape', async () => {
    const odd = ['{}', '{"message":7}', '{"message":{"content":[1],"tool_calls":[5],"thinking":{}}}']
    const { events, error } = await said('odd', { raw: `${odd.join('\n')}\n`, texts: ['ok'] })
    expect(error).toBeUndefined()
    expect(events.filter(({ type }) => type === 'text')).toEqual([{ type: 'text', text: 'ok' }])
  })
})

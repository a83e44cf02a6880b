import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createClient } from '../../../client-sdk/node.ts'
import { actor } from '../../../server/actors/actor.ts'
import { agent } from '../../../server/agents/agent.ts'
import { openai as openaiModel } from '../../../server/models/openai.ts'
import { FakeProvider } from '../../helpers/fake-provider.ts'
import { httpServed } from '../../helpers/http-served.ts'
import { calls, says, scriptedModel } from '../../helpers/scripted-model.ts'
import { eventually } from '../../helpers/server.ts'
import { counted, counter, latch, silent } from '../../helpers/test-actors.ts'

const count = (): ReturnType<typeof counter> => counter()

function client(url: string, apiKey = 'alice'): OpenAI {
  return new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0 })
}

const TOOLS = [
  {
    type: 'function' as const,
    function: { name: 'locate', description: 'Where the user is', parameters: { type: 'object', properties: {} } },
  },
]

describe('the models of the openai package', () => {
  test('are the actors that the principal may start', async () => {
    const authorize = (_: unknown, action: string, target: object): boolean =>
      action !== 'start' || !('actor' in target && target.actor === 'secret')
    await using server = await httpServed({ count: count(), secret: silent() }, { authorize })
    const openai = client(server.httpUrl)
    const { data } = await openai.models.list()
    expect(data.map(({ id }) => id)).toEqual(['count'])
    expect(await openai.models.retrieve('count')).toMatchObject({ id: 'count', object: 'model' })
    await expect(openai.models.retrieve('secret')).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  })
})

describe('an error below /v1', () => {
  test.each([
    ['an unknown path', 'GET', '/v1/nothing', {}, 404],
    ['an unknown path that is sent to', 'POST', '/v1/embeddings', {}, 404],
    ['another method', 'DELETE', '/v1/models', {}, 405],
    ['another method of a path with a name', 'DELETE', '/v1/responses/r_1', {}, 405],
    ['a page of another origin', 'GET', '/v1/models', { origin: 'https://evil.example' }, 403],
    ['no credentials', 'GET', '/v1/models', { authorization: '' }, 401],
  ])('has the form of OpenAI for %s', async (_, method, path, headers, status) => {
    await using server = await httpServed({ count: counter() })
    const answer = await server.http().request(method, path, { headers })
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(await answer.json()).toMatchObject({ error: { message: expect.any(String), type: expect.any(String) } })
    if (status === 405) expect(answer.headers.get('allow')).toMatch(/^GET/)
    // Elsewhere, it is a problem.
    const other = await server.http().request('GET', '/v2/models')
    expect(other.headers.get('content-type')).toBe('application/problem+json')
  })

  test('for an unknown path names those that there are, as the OpenAPI document does for runs', async () => {
    await using server = await httpServed({ count: counter() })
    const answer = await server.http().request('POST', '/v1/embeddings')
    const { error } = (await answer.json()) as { error: { message: string } }
    expect(error.message).toContain('POST /v1/chat/completions, ')
    const { paths } = (await (await server.http().request('GET', '/openapi.json')).json()) as { paths: object }
    for (const path of ['/runs/none/such', '/v2/models']) {
      const { body } = await server.http().json('GET', path)
      expect(body).toMatchObject({ detail: expect.stringContaining('/openapi.json lists the paths of runs') })
    }
    expect(Object.keys(paths)).toContain('/runs')
  })
})

describe('a chat completion of the openai package', () => {
  test('streams what an actor says, with its usage', async () => {
    const model = scriptedModel(says('hello there'))
    await using server = await httpServed({ chat: agent({}) }, { defaultModel: model })
    const stream = await client(server.httpUrl).chat.completions.create({
      model: 'chat',
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0.1,
      messages: [
        { role: 'user', content: 'hi' },
        { role: 'assistant', content: 'what?' },
        { role: 'user', content: [{ type: 'text', text: 'hello' }] },
      ],
    })
    let text = ''
    let reason: string | null = null
    let usage: OpenAI.CompletionUsage | null | undefined
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? ''
      reason = chunk.choices[0]?.finish_reason ?? reason
      usage = chunk.usage ?? usage
    }
    expect({ text, reason }).toEqual({ text: 'hello there', reason: 'stop' })
    expect(usage).toMatchObject({ prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 })
    expect(model.asked[0]).toEqual([
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'what?' },
      { role: 'user', content: 'hello' },
    ])
  })

  test('has the metadata of its request as the meta of its run, by which other clients find it', async () => {
    await using server = await httpServed({ count: count() })
    const messages = [{ role: 'user' as const, content: '2' }]
    const { id } = await client(server.httpUrl).chat.completions.create({
      ...{ model: 'count', messages, metadata: { chat: 'c1' } },
    })
    const { body } = await server.http().json('GET', `/runs/${id}`)
    expect(body).toMatchObject({ run: id, meta: { chat: 'c1' } })
  })

  test('is one answer when it is not streamed', async () => {
    await using server = await httpServed({
      count: count(),
      strict: actor({ input: z.object({ to: z.int() }), ask: ({ to }) => ({ to }) }),
    })
    const openai = client(server.httpUrl)
    const answer = await openai.chat.completions.create({ model: 'count', messages: [{ role: 'user', content: '3' }] })
    expect(answer.choices[0]).toMatchObject({
      finish_reason: 'stop',
      message: { content: '1 2 3 ', role: 'assistant' },
    })
    expect(answer.id).toMatch(/^r_/)
    const value = await openai.chat.completions.create({
      model: 'strict',
      messages: [{ role: 'user', content: '{"to":3}' }],
    })
    expect(value.choices[0]?.message.content).toBe('{"to":3}')
  })

  test('gives the client its tool calls, and the same run goes on with their outputs', async () => {
    const model = scriptedModel(
      calls({ call: 'c1', name: 'locate', args: { precise: true } }, { call: 'c2', name: 'locate', args: {} }),
      says('you are in Oslo'),
    )
    await using server = await httpServed({ chat: agent({ clientTools: true }) }, { defaultModel: model })
    const openai = client(server.httpUrl)
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'where am I?' }]
    const first = await openai.chat.completions.stream({ model: 'chat', messages, tools: TOOLS }).finalChatCompletion()
    const [choice] = first.choices
    expect(choice?.finish_reason).toBe('tool_calls')
    const made = choice?.message.tool_calls ?? []
    expect(made.map((call) => (call.type === 'function' ? call.function : {}))).toMatchObject([
      { name: 'locate', arguments: '{"precise":true}' },
      { name: 'locate', arguments: '{}' },
    ])
    messages.push(choice!.message)
    for (const { id } of made) messages.push({ role: 'tool', tool_call_id: id, content: 'Oslo' })
    const second = await openai.chat.completions.create({ model: 'chat', messages, tools: TOOLS })
    expect(second.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'you are in Oslo' } })
    expect(second.id).toBe(first.id)
    expect(model.asked).toHaveLength(2)
    expect(model.asked[1]?.filter(({ role }) => role === 'tool')).toMatchObject([
      { content: 'Oslo' },
      { content: 'Oslo' },
    ])
    // The run is over: whoever sends this again starts another one, with all of it.
    const third = await openai.chat.completions.create({ model: 'chat', messages, tools: TOOLS })
    expect(third.choices[0]?.message.content).toBe('you are in Oslo')
    expect(third.id).not.toBe(first.id)
  })

  test('of another principal gets no output of a tool, whatever id a client sends', async () => {
    const model = scriptedModel(calls({ call: 'c1', name: 'locate', args: {} }), says('done'))
    await using server = await httpServed({ chat: agent({ clientTools: true }) }, { defaultModel: model })
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'where am I?' }]
    const openai = client(server.httpUrl)
    const first = await openai.chat.completions.create({ model: 'chat', messages, tools: TOOLS })
    const [made] = first.choices[0]?.message.tool_calls ?? []
    messages.push(first.choices[0]!.message, { role: 'tool', tool_call_id: made!.id, content: 'a lie' })
    const foreign = await client(server.httpUrl, 'bob').chat.completions.create({ model: 'chat', messages })
    expect(foreign.id).not.toBe(first.id)
    const { body } = await server.http().json('GET', `/runs/${first.id}`)
    expect(body).toMatchObject({ run: first.id, pending: [] })
    expect(body['end']).toBeUndefined()
    messages.pop()
    messages.push({ role: 'tool', tool_call_id: made!.id, content: 'Oslo' })
    expect((await openai.chat.completions.create({ model: 'chat', messages, tools: TOOLS })).id).toBe(first.id)
  })

  test('is cancelled when the client aborts it, and goes on if a header says so', async () => {
    await using server = await httpServed({ silent: silent() })
    const openai = client(server.httpUrl)
    for (const stream of [true, false]) {
      const abort = new AbortController()
      const asked = openai.chat.completions.create(
        { model: 'silent', stream, messages: [{ role: 'user', content: 'x' }] },
        { signal: abort.signal },
      )
      asked.catch(() => {})
      await eventually(() => server.server.liveRuns === 1, 'the run goes on')
      if (stream) await asked
      abort.abort()
      await eventually(() => server.server.liveRuns === 0, 'the run has ended')
    }
    const { body } = await server.http().json('GET', '/runs')
    expect(body['runs']).toMatchObject([{ outcome: 'cancelled' }, { outcome: 'cancelled' }])
    const abort = new AbortController()
    await openai.chat.completions.create(
      { model: 'silent', stream: true, messages: [{ role: 'user', content: 'x' }] },
      { signal: abort.signal, headers: { 'Millrace-Disconnect': 'detach' } },
    )
    abort.abort()
    await server.http().json('GET', '/runs')
    expect(server.server.liveRuns).toBe(1)
  })

  test('that somebody else cancels, or that fails, is an error and no answer', async () => {
    const fails = actor({
      async *stream() {
        yield 'a'
        throw new Error('secret')
      },
    })
    await using server = await httpServed({ silent: silent(), fails })
    const openai = client(server.httpUrl)
    const asked = openai.chat.completions.create({ model: 'silent', messages: [{ role: 'user', content: 'x' }] })
    asked.catch(() => {})
    await eventually(() => server.server.liveRuns === 1, 'the run goes on')
    const { body } = await server.http().json('GET', '/runs')
    const [run] = body['runs'] as { run: string }[]
    await server.http().json('POST', `/runs/${run!.run}/cancel`)
    await expect(asked).rejects.toMatchObject({ status: 409, code: 'cancelled' })
    const stream = await openai.chat.completions.create({
      model: 'fails',
      stream: true,
      messages: [{ role: 'user', content: 'x' }],
    })
    const read = async (): Promise<void> => {
      for await (const _ of stream) {
        // Reads it to its end.
      }
    }
    await expect(read()).rejects.toMatchObject({ code: 'actor_failed' })
  })

  test('is refused with the errors that the package knows', async () => {
    await using server = await httpServed({ chat: agent({}), count: count() })
    const openai = client(server.httpUrl)
    const messages = [{ role: 'user' as const, content: 'x' }]
    const refused = (body: object, key?: string): Promise<unknown> =>
      client(server.httpUrl, key).chat.completions.create(body as OpenAI.ChatCompletionCreateParamsNonStreaming)
    await expect(refused({ model: 'chat', messages }, 'mallory')).rejects.toBeInstanceOf(OpenAI.AuthenticationError)
    await expect(refused({ model: 'nobody', messages })).rejects.toBeInstanceOf(OpenAI.NotFoundError)
    await expect(refused({ model: 'chat', messages: [] })).rejects.toBeInstanceOf(OpenAI.BadRequestError)
    await expect(refused({ model: 'chat', messages, n: 2 })).rejects.toThrow('an actor gives one answer')
    await expect(refused({ model: 'count', messages, tools: TOOLS })).rejects.toThrow('takes no tools of clients')
    await expect(refused({ model: 'chat', messages: [{ role: 'system', content: 'x' }, ...messages] })).rejects.toThrow(
      'takes no messages of role system',
    )
    await expect(
      openai.chat.completions.create({
        model: 'chat',
        messages: [{ role: 'user', content: [{ type: 'input_audio', input_audio: { data: '', format: 'wav' } }] }],
      }),
    ).rejects.toThrow('not supported')
  })
})

test('a stop of the openai package closes the socket of the provider', async () => {
  await using provider = await FakeProvider.start()
  await provider.behave('long', { tokens: 100_000, everyMs: 5 })
  const defaultModel = openaiModel('long', { apiKey: 'key', baseURL: provider.baseURL, env: {} })
  await using server = await httpServed({ chat: agent({}) }, { defaultModel })
  const stream = await client(server.httpUrl).chat.completions.create({
    model: 'chat',
    stream: true,
    messages: [{ role: 'user', content: 'go on' }],
  })
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break
  const { id } = await provider.request('long')
  expect(await provider.closed(id)).toMatchObject({ whole: false })
  await eventually(() => server.server.liveRuns === 0, 'the run has ended')
})

test('one run is started over a WebSocket, watched as server-sent events, and stopped with the openai package', async () => {
  await using server = await httpServed({ silent: silent() })
  const native = createClient(server.url, { token: 'alice' })
  const run = native.start('silent', null)
  const { id } = await run.opened
  await using watched = await server.http().stream('GET', `/runs/${id}/events`)
  await watched.opened()
  expect(await client(server.httpUrl).responses.cancel(id)).toMatchObject({ id, status: 'cancelled' })
  const { outcome, receipt } = await watched.end()
  expect({ outcome, receipt }).toMatchObject({ outcome: 'cancelled', receipt: { by: 'client', settled: true } })
  expect(await run.end).toMatchObject({ outcome, receipt })
  await native.close()
})

describe('a response of the openai package', () => {
  test('streams what an actor says', async () => {
    await using server = await httpServed({ count: count() })
    const stream = client(server.httpUrl).responses.stream({ model: 'count', input: '4', metadata: { a: 'b' } })
    let text = ''
    stream.on('response.output_text.delta', ({ delta }) => (text += delta))
    const response = await stream.finalResponse()
    expect(text).toBe(counted(1, 4))
    expect(response).toMatchObject({
      status: 'completed',
      output_text: counted(1, 4),
      metadata: { a: 'b' },
      background: false,
    })
  })

  test('is one object when it is not streamed', async () => {
    const model = scriptedModel(says('hello'))
    await using server = await httpServed({ chat: agent({ allowSystem: true }) }, { defaultModel: model })
    const response = await client(server.httpUrl).responses.create({
      model: 'chat',
      instructions: 'be short',
      input: [{ role: 'user', content: [{ type: 'input_text', text: 'hi' }] }],
    })
    expect(response).toMatchObject({
      status: 'completed',
      output_text: 'hello',
      usage: { input_tokens: 10, output_tokens: 2 },
    })
    expect(model.asked[0]).toEqual([
      { role: 'system', content: 'be short' },
      { role: 'user', content: 'hi' },
    ])
  })

  test('in the background outlives its stream, which goes on behind any event: nothing is lost or there twice', async () => {
    await using server = await httpServed({ count: count() })
    const openai = client(server.httpUrl)
    const begun = await openai.responses.create({ model: 'count', input: '60', background: true, stream: true })
    let text = ''
    let id = ''
    let seen = -1
    let status: string | undefined
    const take = async (stream: AsyncIterable<OpenAI.Responses.ResponseStreamEvent>): Promise<void> => {
      let taken = 0
      for await (const event of stream) {
        expect(event.sequence_number).toBeGreaterThan(seen)
        seen = event.sequence_number
        if (event.type === 'response.created') id = event.response.id
        if (event.type === 'response.output_text.delta') text += event.delta
        if (event.type === 'response.completed') status = event.response.status
        if (++taken === 7) return
      }
    }
    await take(begun)
    while (status === undefined) await take(await openai.responses.retrieve(id, { stream: true, starting_after: seen }))
    expect({ text, status }).toEqual({ text: counted(1, 60), status: 'completed' })
    expect(await openai.responses.retrieve(id)).toMatchObject({ id, status: 'completed', output_text: counted(1, 60) })
  })

  test('in the background can be polled and cancelled', async () => {
    const go = latch()
    const waits = actor({
      async *stream(_: unknown, { signal }) {
        yield 'a'
        await Promise.race([go.opened, new Promise((resolve) => signal.addEventListener('abort', resolve))])
        yield 'b'
      },
    })
    await using server = await httpServed({ waits })
    const openai = client(server.httpUrl)
    const { id, status } = await openai.responses.create({ model: 'waits', input: 'x', background: true })
    expect(status).toBe('in_progress')
    await eventually(() => server.server.liveRuns === 1, 'the run goes on')
    let polled = await openai.responses.retrieve(id)
    while (polled.output_text === '') polled = await openai.responses.retrieve(id)
    expect(polled).toMatchObject({ status: 'in_progress', output_text: 'a' })
    expect(await openai.responses.cancel(id)).toMatchObject({ status: 'cancelled', output_text: 'a' })
    expect(server.server.liveRuns).toBe(0)
    await expect(openai.responses.retrieve('r_none')).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  })

  test('gives the client its function calls, and goes on with their outputs', async () => {
    const model = scriptedModel(calls({ call: 'c1', name: 'locate', args: {} }), says('you are in Oslo'))
    await using server = await httpServed({ chat: agent({ clientTools: true }) }, { defaultModel: model })
    const openai = client(server.httpUrl)
    const tools = [{ type: 'function' as const, strict: null, ...TOOLS[0]!.function }]
    const first = await openai.responses.create({ model: 'chat', input: 'where am I?', tools })
    const [made] = first.output
    expect(made).toMatchObject({ type: 'function_call', name: 'locate', arguments: '{}' })
    const callId = made?.type === 'function_call' ? made.call_id : ''
    const second = await openai.responses.create({
      model: 'chat',
      previous_response_id: first.id,
      input: [{ type: 'function_call_output', call_id: callId, output: 'Oslo' }],
      tools,
    })
    expect(second).toMatchObject({
      status: 'completed',
      output_text: 'you are in Oslo',
      previous_response_id: first.id,
    })
    expect(second.id).not.toBe(first.id)
    expect(await openai.responses.retrieve(second.id)).toMatchObject({ output_text: 'you are in Oslo' })
    expect((await openai.responses.retrieve(first.id)).output).toMatchObject([{ type: 'function_call' }])
  })
})

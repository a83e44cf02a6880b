import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createClient } from '../../client-sdk/node.ts'
import { type AskEvent, streamAsk } from '../../compat/index.ts'
import { actor, agent, tool } from '../../server/index.ts'
import { calls, says, scriptedModel } from '../helpers/scripted-model.ts'
import { testServer } from '../helpers/server.ts'
import { aborted } from '../helpers/test-actors.ts'

const clock = tool({ description: 'Tells the time', run: () => 'noon' })
const actors = () => ({
  chat: agent({
    model: scriptedModel(calls({ call: 'c1', name: 'clock', args: {} }), says('It is noon.')),
    tools: { clock },
  }),
  broken: agent({ model: scriptedModel([{ type: 'text', text: 'so far' }, new Error('a secret of the provider')]) }),
  modelless: actor({
    async *stream(_: unknown, { model }) {
      yield* model('openai:none').text('hello')
    },
  }),
  sum: actor({ input: z.object({ a: z.number() }), ask: ({ a }) => ({ sum: a + 1 }) }),
  silent: actor({
    async *stream(_: unknown, { signal }) {
      yield 'one'
      await aborted(signal)
    },
  }),
})
type Actors = ReturnType<typeof actors>

/** By the router of the server, and by a client. */
const targets = ['router', 'client'] as const

async function serving(kind: (typeof targets)[number]) {
  const served = await testServer(actors())
  const client = createClient<Actors>(served.url, { token: 'alice' })
  return {
    target: kind === 'router' ? served.server.router : client,
    async [Symbol.asyncDispose]() {
      await client.close()
      await served[Symbol.asyncDispose]()
    },
  }
}

describe.each(targets)('streamAsk by the %s', (kind) => {
  test('gives all events with their times, and last the figures of the answer', async () => {
    await using on = await serving(kind)
    const events: AskEvent[] = []
    const last = await streamAsk(on.target, 'chat', 'stream', 'What time is it?', {
      onChunk: (event) => void events.push(event),
    })
    expect(last).toEqual({
      type: 'done',
      content: 'It is noon.',
      result: undefined,
      iterations: 2,
      ms: expect.any(Number) as number,
      inputTokens: 20,
      outputTokens: 7,
      timestamp: expect.any(Number) as number,
    })
    expect(events.at(-1)).toBe(last)
    expect(events.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['iteration', 'tool.call', 'tool.result', 'token', 'usage', 'done']),
    )
    for (const { timestamp } of events) expect(Math.abs(timestamp - Date.now())).toBeLessThan(60_000)
  })

  test.each<[string, keyof Actors, 'ask' | 'stream', unknown, object]>([
    ['a model that fails', 'broken', 'stream', 'hi', { content: 'so far', error: { code: 'actor_failed' } }],
    ['a model that the server does not have', 'modelless', 'stream', 'hi', { error: { code: 'not_found' } }],
    ['a wrong payload', 'sum', 'ask', { a: 'x' }, { error: { code: 'invalid_input' } }],
    ['a payload that cannot be sent', 'sum', 'ask', { a: () => 1 }, { error: { retryable: false } }],
    ['an unknown address', 'nobody' as never, 'stream', 1, { error: { code: 'not_found' } }],
  ])('gives %s as an error event, and does not reject', async (_, address, type, payload, error) => {
    await using on = await serving(kind)
    const events: AskEvent[] = []
    const last = await streamAsk(on.target, address, type, payload, { onChunk: (event) => void events.push(event) })
    expect(last).toMatchObject({ type: 'error', timestamp: expect.any(Number) as number, ...error })
    expect(JSON.stringify(last)).not.toContain('a secret')
    expect(events.at(-1)).toBe(last)
    expect(events.filter(({ type }) => type === 'error')).toHaveLength(1)
  })

  test('streams an actor that has no stream: its one answer comes as an event, and is the result', async () => {
    await using on = await serving(kind)
    const events: AskEvent[] = []
    const last = await streamAsk(on.target, 'sum', 'stream', { a: 1 }, { onChunk: (event) => void events.push(event) })
    expect(last).toMatchObject({ type: 'done', content: '', result: { sum: 2 }, iterations: 0 })
    expect(events).toMatchObject([{ type: 'data', name: 'result', value: { sum: 2 } }, { type: 'done' }])
  })

  test('asks for one answer, which is the result', async () => {
    await using on = await serving(kind)
    expect(await streamAsk(on.target, 'sum', 'ask', { a: 1 })).toMatchObject({ type: 'done', result: { sum: 2 } })
  })

  test('ends with an error when its signal aborts, its time is over, or its receiver throws', async () => {
    await using on = await serving(kind)
    const controller = new AbortController()
    const onChunk = (event: AskEvent): void => {
      if (event.type === 'token') controller.abort()
    }
    const stopped = await streamAsk(on.target, 'silent', 'stream', null, { onChunk, signal: controller.signal })
    expect(stopped).toMatchObject({ type: 'error', content: 'one', error: { code: 'cancelled' } })
    const before = await streamAsk(on.target, 'silent', 'stream', null, { signal: controller.signal })
    expect(before).toMatchObject({ type: 'error', error: { code: 'cancelled' } })
    const late = await streamAsk(on.target, 'silent', 'stream', null, { timeout: 30 })
    expect(late).toMatchObject({ type: 'error', error: { code: 'timeout' } })
    const throws = (): void => {
      throw new TypeError('not now')
    }
    const thrown = await streamAsk(on.target, 'silent', 'stream', null, { onChunk: throws })
    expect(thrown).toMatchObject({ type: 'error', error: { message: 'not now' } })
  })
})

test('streamAsk says of an actor that cannot do what was asked what it can do', async () => {
  await using served = await testServer(actors())
  const last = await streamAsk(served.server.router, 'silent', 'ask', null)
  expect(last).toMatchObject({
    error: { code: 'bad_request', message: 'actor silent has no `ask`; call its `stream`' },
  })
})

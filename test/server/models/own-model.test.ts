import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ownModel } from '../../../examples/own-model.ts'
import type { ModelEvent } from '../../../server/models/model.ts'
import { modelSuite } from '../../conformance/model.ts'
import { FakeProvider } from '../../helpers/fake-provider.ts'
import type { Behaviour } from '../../helpers/fake-provider-wire.ts'

let provider: FakeProvider
beforeAll(async () => {
  provider = await FakeProvider.start()
})
afterAll(() => provider[Symbol.asyncDispose]())

modelSuite('the example of a model', async () => {
  await provider.behave('usual', { tokens: 5 })
  return ownModel('usual', provider.host)
})

async function said(name: string, behaviour: Behaviour): Promise<{ events: ModelEvent[]; error?: unknown }> {
  await provider.behave(name, behaviour)
  const events: ModelEvent[] = []
  const { signal } = new AbortController()
  try {
    for await (const event of ownModel(name, provider.host).stream({
      messages: [{ role: 'user', content: 'hello' }],
      signal,
    }))
      events.push(event)
    return { events }
  } catch (error) {
    return { events, error }
  }
}

describe('the example of a model', () => {
  test('gives thinking, text and complete tool calls, and says why it stopped', async () => {
    const calls = [{ name: 'weather', args: '{"city":"Oslo"}' }]
    const { events, error } = await said('calls', { thinking: ['hm'], tokens: 1, calls, finish: 'tool_calls' })
    expect(error).toBeUndefined()
    expect(events).toMatchObject([
      { type: 'thinking', text: 'hm' },
      { type: 'text', text: 't0 ' },
      { type: 'tool.call', name: 'weather', args: { city: 'Oslo' }, call: expect.stringMatching(/./) },
      { type: 'usage', input: 11, output: 1 },
      { type: 'finish', stop: 'tool_calls' },
    ])
  })

  test.each<[number, string]>([
    [400, 'bad_request'],
    [401, 'provider_error'],
    [413, 'context_too_long'],
    [429, 'provider_rate_limited'],
    [500, 'provider_error'],
    [503, 'provider_overloaded'],
  ])('reports %i of the provider as %s', async (status, code) => {
    const { error } = await said(`status-${status}`, { status })
    expect(error).toMatchObject({ name: 'MillraceError', code })
  })

  test.each<[string, Behaviour, string]>([
    ['without an end', { tokens: 2, end: 'no-marker' }, 'truncated'],
    ['cut off', { tokens: 2, end: 'cut' }, 'provider_error'],
    ['that ends with an error', { tokens: 2, end: 'error' }, 'provider_error'],
    ['of one endless line', { tokens: 2, end: 'endless-line' }, 'provider_error'],
    ['with a malformed line', { tokens: 2, malformed: true }, 'provider_error'],
  ])('is never done after an answer %s', async (what, behaviour, code) => {
    const { events, error } = await said(what, behaviour)
    expect(error).toMatchObject({ name: 'MillraceError', code })
    expect(events.filter(({ type }) => type === 'finish')).toEqual([])
  })

  test('closes the socket of the provider when it is aborted', async () => {
    await provider.behave('held', { tokens: 1, hold: 'tokens' })
    const controller = new AbortController()
    const messages = [{ role: 'user', content: 'hello' }] as const
    const events = ownModel('held', provider.host)
      .stream({ messages, signal: controller.signal })
      [Symbol.asyncIterator]()
    await events.next()
    const next = events.next()
    const { id } = await provider.request('held')
    await provider.seen(id, 'holding')
    controller.abort(new Error('stopped by the test'))
    await expect(next).rejects.toThrow('stopped by the test')
    expect((await provider.closed(id)).whole).toBe(false)
  })

  test('leaves the socket of the provider unread while nobody reads the model', async () => {
    await provider.behave('long', { tokens: 64_000, tokenBytes: 1_000 })
    const { signal } = new AbortController()
    const messages = [{ role: 'user', content: 'hello' }] as const
    const events = ownModel('long', provider.host).stream({ messages, signal })[Symbol.asyncIterator]()
    await events.next()
    const { id } = await provider.request('long')
    expect((await provider.stalled(id)).tokens).toBeLessThan(32_000)
    await events.return?.()
    expect((await provider.closed(id)).whole).toBe(false)
  })
})

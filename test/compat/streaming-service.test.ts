import { describe, expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import { type AskEvent, type StreamingServiceOptions, streamingService } from '../../compat/index.ts'
import { actor, agent, conversation } from '../../server/index.ts'
import { handClock } from '../helpers/hand-clock.ts'
import { says, scriptedModel } from '../helpers/scripted-model.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { aborted } from '../helpers/test-actors.ts'

const [small, large] = [scriptedModel(says('from the small one')), scriptedModel(says('from the large one'))]
const actors = {
  echo: actor({
    async *stream(text: unknown) {
      for (const word of String(text).split(' ')) yield `${word} `
    },
  }),
  silent: actor({
    async *stream(_: unknown, { signal }) {
      yield 'é'
      await aborted(signal)
    },
  }),
  chat: conversation({
    agent: agent({ model: { ...small, id: 'test:small', provider: 'test' } }),
    models: ['test:large'],
  }),
}

async function serving(options: StreamingServiceOptions = {}) {
  const served = await testServer(actors, { models: [{ ...large, id: 'test:large', provider: 'test' }] })
  const client = createClient<typeof actors>(served.url, { token: 'alice' })
  const service = streamingService(client, options)
  return {
    served,
    client,
    service,
    async [Symbol.asyncDispose]() {
      await service.close()
      await client.close()
      await served[Symbol.asyncDispose]()
    },
  }
}

describe('a streaming service', () => {
  test('creates, finds, lists and ends sessions, several at once, and counts chunks and bytes of each and of all', async () => {
    await using on = await serving({ debounceMs: 0 })
    const { service } = on
    const one = service.createSession({ id: 'one', address: 'echo' })
    const two = service.createSession({ address: 'silent' })
    expect(service.getSession('one')).toBe(one)
    expect(service.listActiveSessions()).toEqual([one, two])

    expect(await service.stream('one', 'a bé')).toMatchObject({ type: 'done', content: 'a bé ' })
    expect(one).toMatchObject({ state: 'active', totalChunks: 2, totalBytes: 6, streams: 0 })
    const answer = two.stream(null)
    await eventually(() => two.totalChunks === 1, 'the first chunk')
    expect(two.streams).toBe(1)
    expect(service.stats).toEqual({ active: 2, created: 2, totalChunks: 3, totalBytes: 8 })

    expect(await service.endSession(two.id)).toBe(true)
    expect(await answer).toMatchObject({ type: 'error', content: 'é', error: { code: 'not_found' } })
    expect(two).toMatchObject({ state: 'ended', endedAt: expect.any(Number) as number, streams: 0 })
    expect(on.served.server.liveRuns).toBe(0)
    expect(service.listActiveSessions()).toEqual([one])
    expect(await service.endSession(two.id)).toBe(false)
    expect(service.stats).toEqual({ active: 1, created: 2, totalChunks: 3, totalBytes: 8 })
  })

  test('hands on texts in few pieces, other events in their places, and each message ends once', async () => {
    await using on = await serving()
    const events: AskEvent[] = []
    const mine: AskEvent[] = []
    const session = on.service.createSession({ address: 'echo', onChunk: (event) => void events.push(event) })
    await session.stream('a b c', { onChunk: (event) => void mine.push(event) })
    expect(events.map((event) => ('text' in event ? event.text : event.type))).toEqual(['a b c ', 'done'])
    expect(mine).toEqual(events)
    expect(session.totalChunks).toBe(3)
  })

  test('ends a session in which nothing has come for its time, and forgets it later', async () => {
    const runtime = handClock()
    await using on = await serving({ runtime, timeoutMs: 30_000, keepMs: 60_000, debounceMs: 0 })
    const { service } = on
    let pieces = 0
    const session = service.createSession({
      id: 'one',
      address: 'silent',
      onChunk: () => {
        pieces++
      },
    })
    runtime.advance(29_999)
    const answer = session.stream(null)
    runtime.advance(29_999)
    await eventually(() => pieces === 1, 'the first piece')
    runtime.advance(29_999)
    expect(session.state).toBe('active')
    runtime.advance(1)
    expect(session.state).toBe('timed_out')
    const late = { type: 'error', content: 'é', error: { code: 'timeout', message: 'nothing has come for 30000 ms' } }
    expect(await answer).toMatchObject(late)
    expect(await session.stream(null)).toMatchObject({ type: 'error', error: { code: 'timeout' } })
    runtime.advance(59_999)
    expect(service.getSession('one')).toBe(session)
    runtime.advance(1)
    expect(service.getSession('one')).toBeUndefined()
    expect(service.stats).toEqual({ active: 0, created: 1, totalChunks: 1, totalBytes: 2 })
    expect(runtime.timers).toBe(0)
  })

  test('does not end a session whose receiver is slow', async () => {
    const runtime = handClock()
    await using on = await serving({ runtime, debounceMs: 0 })
    let release = (): void => {}
    const slow = new Promise<void>((resolve) => (release = resolve))
    let isTaking = false
    const onChunk = (): Promise<void> => {
      isTaking = true
      return slow
    }
    const session = on.service.createSession({ address: 'echo', onChunk })
    const answer = session.stream('a')
    await eventually(() => isTaking, 'the first piece')
    runtime.advance(1_000_000)
    expect(session.state).toBe('active')
    release()
    expect(await answer).toMatchObject({ type: 'done', content: 'a ' })
  })

  test('gives every failure as an event: an unknown session, one that ended, one too many, one of the same id', async () => {
    await using on = await serving({ maxSessions: 1 })
    const { service } = on
    const code = async (answer: ReturnType<typeof service.stream>): Promise<unknown> => {
      const last = await answer
      return last.type === 'error' ? last.error.code : last.type
    }
    expect(await code(service.stream('nobody', 1))).toBe('not_found')
    const one = service.createSession({ id: 'one', address: 'echo' })
    const again = service.createSession({ id: 'one', address: 'echo' })
    expect([again.state, await code(again.stream('a'))]).toEqual(['refused', 'key_conflict'])
    const second = service.createSession({ address: 'echo' })
    expect([second.state, await code(second.stream('a'))]).toEqual(['refused', 'overloaded'])
    expect(service.getSession(second.id)).toBeUndefined()
    await one.end()
    expect(await code(one.stream('a'))).toBe('not_found')
    const anew = service.createSession({ id: 'one', address: 'echo' })
    expect(await code(anew.stream('a'))).toBe('done')
    const seen: string[] = []
    await anew.end()
    const astray = service.createSession({ address: 'nobody', onChunk: ({ type }) => void seen.push(type) })
    expect(await code(astray.stream('a'))).toBe('not_found')
    expect(seen).toEqual(['error'])
  })

  test('keeps the conversation of a session, with the model of its configuration', async () => {
    await using on = await serving()
    const { service } = on
    const session = service.createSession({
      id: 'trip',
      address: 'chat',
      conversation: true,
      defaultModel: '@(test:large)',
    })
    expect(await session.stream('hello')).toMatchObject({ type: 'done', content: 'from the large one', iterations: 1 })
    expect(await session.stream('again')).toMatchObject({ type: 'done', inputTokens: 10, outputTokens: 2 })
    expect(large.asked.at(-1)?.map(({ role }) => role)).toEqual(['user', 'assistant', 'user'])
    const { conversations } = (await on.client.ask('chat', { type: 'list' })) as { conversations: object[] }
    expect(conversations).toMatchObject([{ id: 'trip', model: 'test:large', messages: 4 }])
    const plain = service.createSession({ address: 'chat', conversation: true })
    expect(await plain.stream('hello')).toMatchObject({ content: 'from the small one' })
    const wrong = service.createSession({ address: 'chat', conversation: true, defaultModel: 'test:other' })
    expect(await wrong.stream('hello')).toMatchObject({ type: 'error', error: { code: 'not_found' } })
  })

  test('works over the router of a server, too', async () => {
    const { chat: _, ...others } = actors
    await using served = await testServer(others)
    const service = streamingService(served.server.router)
    const session = service.createSession({ address: 'echo' })
    expect(await session.stream('a b')).toMatchObject({ type: 'done', content: 'a b ' })
    const stuck = service.createSession({ address: 'silent' })
    const answer = stuck.stream(null)
    await eventually(() => stuck.totalChunks === 1, 'the first chunk')
    await service.close()
    expect(await answer).toMatchObject({ type: 'error', error: { code: 'not_found' } })
    expect(served.server.liveRuns).toBe(0)
  })

  test.each([{ maxSessions: 0 }, { timeoutMs: -1 }, { keepMs: Number.NaN }, { debounceMs: -1 }, { maxBytes: 0 }])(
    'refuses the option %j',
    (options) => {
      expect(() => streamingService({} as never, options)).toThrow(/streamingService: \w+ must be a number/)
    },
  )
})

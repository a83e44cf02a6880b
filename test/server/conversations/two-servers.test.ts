import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { agent, conversation, createServer, memoryConversations, redisConversations } from '../../../server/index.ts'
import type { RedisStore, RedisStoreOptions } from '../../../server/stores/redis/redis-store.ts'
import { type Chats, chats, hangs, isReady, shown, storedTextOf, until } from '../../helpers/chats.ts'
import { redisStore } from '../../helpers/redis-harness.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'
import { type ScriptedAnswer, says, scriptedModel } from '../../helpers/scripted-model.ts'

const KEY = { owner: 'alice', id: 'first' }

/** A model that says these words, the last of them when it is let go. */
function held(...words: string[]): { answer: ScriptedAnswer; go(): void } {
  let go!: () => void
  const let_ = new Promise<void>((resolve) => {
    go = resolve
  })
  return {
    go,
    async *answer() {
      for (const text of words.slice(0, -1)) yield { type: 'text', text }
      await let_
      yield* says(words.at(-1)!)
    },
  }
}

test('conversations that servers share need the store of runs of these servers', async () => {
  const runs = redisStore([{ url: 'redis://127.0.0.1:1' }], 'p')
  const chat = conversation({ agent: agent({ model: scriptedModel() }), store: redisConversations(runs) })
  const other = redisStore([{ url: 'redis://127.0.0.1:1' }], 'p')
  for (const store of [undefined, other])
    expect(() => createServer({ actors: { chat }, authenticate: () => ({ id: 'a' }), store })).toThrow(
      expect.objectContaining({ code: 'bad_request', message: expect.stringContaining('store of runs') as string }),
    )
  expect(() => redisConversations({})).toThrow('redisConversations() takes what redis()')
  expect(() => redisConversations(runs, { keepMs: 0 })).toThrow('keepMs must be')
  await Promise.all([runs.close(), other.close()])
})

test('an answer that another server has ended is not written any more', async () => {
  const store = memoryConversations()
  const { answer, go } = held('Hello', ' there')
  await using server = await chats([answer], { store })
  const chat = server.open()
  await chat.send('hi')
  await until(chat, ({ messages }) => messages.at(-1)?.text === 'Hello')
  const { conversation: record, messages } = (await store.load(KEY))!
  const { packMessage, unpackMessage } = await import('../../../server/conversations/message-record.ts')
  const failed = packMessage({ ...unpackMessage(messages[1]!), status: 'failed' })
  expect(await store.save({ ...record, version: record.version + 1 }, [failed], record.version)).toBe(true)
  go()
  await chat.run?.end.catch(() => {})
  await until(chat, isReady)
  const after = await store.load(KEY)
  expect(after?.messages).toEqual([messages[0], failed])
})

describe.skipIf(!HAS_REDIS)('two servers with conversations in a Redis', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await RedisServer.start()
  })
  afterAll(() => redis[Symbol.asyncDispose]())

  type Pair = readonly [Chats & { runs: RedisStore }, Chats & { runs: RedisStore }] & AsyncDisposable

  /** The answers are those of the models of the two. */
  async function pair(
    answers: readonly [ScriptedAnswer[], ScriptedAnswer[]],
    options: Partial<RedisStoreOptions> = {},
  ): Promise<Pair> {
    const prefix = redis.prefix()
    const begin = async (own: ScriptedAnswer[]) => {
      const runs = redisStore([redis], prefix, { leaseMs: 1_000, ...options })
      return Object.assign(await chats(own, { store: redisConversations(runs) }, { store: runs }), { runs })
    }
    const both = await Promise.all(answers.map(begin))
    return Object.assign(both as unknown as Pair, {
      async [Symbol.asyncDispose]() {
        await Promise.all(both.map((one) => one[Symbol.asyncDispose]()))
      },
    })
  }

  test('show on one what is done on the other, live: the answer while it is written, and each change', async () => {
    const second = held('Two', ' done')
    await using servers = await pair([[hangs('One'), says('More')], [second.answer]])
    const [here, there] = [servers[0].open(), servers[1].open()]
    await until(there, isReady)
    await here.send('first')
    await until(there, (now) => shown(now).join() === 'user sent: first,assistant streaming: One')
    // A message to the run of the other server.
    await there.send('and more', { mode: 'now' })
    const all = ['user sent: first', 'assistant sent: One', 'user sent: and more', 'assistant sent: More']
    expect(shown(await until(here, (now) => isReady(now) && now.messages.length === 4))).toEqual(all)
    expect(shown(await until(there, (now) => isReady(now) && now.messages.length === 4))).toEqual(all)
    // The other way round: a version of the first message.
    const [asked] = there.getSnapshot().messages
    await there.edit(asked!.id, 'second')
    await until(here, (now) => shown(now).join() === 'user sent: second,assistant streaming: Two')
    second.go()
    await until(here, (now) => isReady(now) && shown(now).join() === 'user sent: second,assistant sent: Two done')
    await there.select(asked!.id)
    await until(here, (now) => shown(now).join() === all.join())
    await here.rename('Numbers')
    await until(there, ({ title }) => title === 'Numbers')
    await there.branch(asked!.id)
    await until(here, ({ messages }) => messages.length === 1)
    await there.remove()
    await until(here, ({ status }) => status === 'removed')
    expect(await servers[0].runs.list('alice', undefined, 9)).toEqual([])
    expect(servers.flatMap(({ errors }) => errors)).toEqual([])
  })

  test('stop on one what the other answers, ask again, and remove it in the middle', async () => {
    await using servers = await pair([[hangs('Endless')], [says('Again'), hangs('Endless')]])
    const [here, there] = [servers[0].open(), servers[1].open()]
    await here.send('go on')
    await until(there, (now) => shown(now).join() === 'user sent: go on,assistant streaming: Endless')
    const receipt = await there.stop()
    expect(receipt).toMatchObject({ outcome: 'cancelled', settled: true })
    await there.retry()
    await until(here, (now) => isReady(now) && shown(now).at(-1) === 'assistant sent: Again')
    await here.send('once more')
    await until(there, ({ status }) => status === 'answering')
    await there.remove()
    await until(here, ({ status }) => status === 'removed')
  })

  test('refuse two answers at once, also when both begin in one moment', async () => {
    await using servers = await pair([[hangs('A')], [hangs('B')]])
    const asks = servers.map((server, at) =>
      server.client().start('chat', { type: 'send', id: `message-${at}`, conversation: 'first', content: 'hi' }),
    )
    const failed = await Promise.race(asks.map((run) => run.result.catch((error: unknown) => error)))
    expect(failed).toMatchObject({ code: 'overloaded', details: { run: expect.any(String) as string } })
  })

  test('see each other without any hint, a moment later', async () => {
    const { answer, go } = held('One', ' done')
    await using servers = await pair([[answer], [says('Two')]], { isDeaf: true, lookMs: 100 })
    const [here, there] = [servers[0].open(), servers[1].open()]
    await until(there, isReady)
    await here.send('first')
    await until(there, (now) => shown(now).join() === 'user sent: first,assistant streaming: One')
    go()
    await until(there, (now) => isReady(now) && shown(now).at(-1) === 'assistant sent: One done')
    await there.send('second')
    await until(here, (now) => isReady(now) && shown(now).at(-1) === 'assistant sent: Two')
  })

  test('go on when one of them dies in the middle of an answer: it has failed, with the text that was stored', async () => {
    await using servers = await pair([[hangs('Half of it')], [says('Whole')]])
    const [here, there] = [servers[0].open(), servers[1].open()]
    await here.send('tell me')
    await until(there, (now) => shown(now).at(-1) === 'assistant streaming: Half of it')
    const kept = redisConversations(servers[1].runs)
    while (storedTextOf((await kept.load(KEY))?.messages[1]) !== 'Half of it')
      await new Promise((resolve) => setTimeout(resolve, 20))
    servers[0].runs.crash()
    const { messages } = await until(there, isReady)
    expect(messages.at(-1)).toMatchObject({ status: 'failed', text: 'Half of it', error: { code: 'interrupted' } })
    await there.retry()
    await until(there, (now) => isReady(now) && shown(now).at(-1) === 'assistant sent: Whole')
  })

  test('keep conversations for as long as they are told, and then nothing of them', async () => {
    const prefix = redis.prefix()
    await using runs = Object.assign(redisStore([redis], prefix), { [Symbol.asyncDispose]: () => runs.close() })
    const record = { owner: 'alice', title: '', createdAt: 1, updatedAt: 1, version: 1, data: new Uint8Array() }
    const message = { id: 'm', n: 1, at: 1, text: 'hi', data: new Uint8Array() }
    const keys = async () => ((await redis.command('KEYS', `${prefix}:*"alice"*`)) as string[]).sort()
    const brief = redisConversations(runs, { keepMs: 1_500 })
    const lasting = redisConversations(runs)
    await brief.save({ ...record, id: 'brief' }, [message], 0)
    for (const key of await keys()) expect(await redis.command('PTTL', key)).toBeGreaterThan(0)
    while ((await brief.count('alice')) > 0) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(await brief.load({ owner: 'alice', id: 'brief' })).toBeUndefined()
    expect(await brief.list('alice', undefined, 9)).toEqual([])
    await lasting.save({ ...record, id: 'lasting' }, [message], 0)
    await brief.save({ ...record, id: 'brief' }, [message], 0)
    while ((await lasting.list('alice', undefined, 9)).length > 1)
      await new Promise((resolve) => setTimeout(resolve, 20))
    const left = (await keys()).filter((key) => !key.includes(':changes:'))
    expect(left).toEqual(
      ['conversation', 'messages', 'versions']
        .map((kind) => `${prefix}:${kind}:"alice":lasting`)
        .concat(`${prefix}:conversations:"alice"`)
        .sort(),
    )
    for (const key of left) expect(await redis.command('PTTL', key)).toBe(-1)
  })

  test('leave the list at the moment at which they can no longer be read', async () => {
    await using runs = Object.assign(redisStore([redis], redis.prefix()), { [Symbol.asyncDispose]: () => runs.close() })
    const brief = redisConversations(runs, { keepMs: 5 })
    const record = { owner: 'alice', title: '', createdAt: 1, updatedAt: 1, version: 1, data: new Uint8Array() }
    for (let n = 0; n < 100; n++) {
      const id = `brief-${n}`
      await brief.save({ ...record, id }, [{ id: 'm', n: 1, at: 1, text: 'hi', data: new Uint8Array() }], 0)
      while ((await brief.list('alice', undefined, 9)).length > 0);
      expect(await brief.load({ owner: 'alice', id })).toBeUndefined()
    }
  })
})

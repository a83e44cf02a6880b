import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type ConversationStore,
  type LoadedMessage,
  memoryConversations,
  redisConversations,
  type StoredConversation,
  type StoredMessage,
  sqliteConversations,
  wordsOf,
} from '../../../server/index.ts'
import { sqlite } from '../../../server/stores/sqlite/sqlite.ts'
import { redisStore } from '../../helpers/redis-harness.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'
import { ReplyLoser } from '../../helpers/reply-loser.ts'

type Opened = { store: ConversationStore; reopen(): Promise<ConversationStore>; [Symbol.asyncDispose](): Promise<void> }

const servers: RedisServer[] = []
beforeAll(async () => {
  if (HAS_REDIS) for (let n = 0; n < 2; n++) servers.push(await RedisServer.start())
})
afterAll(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]()
})

/** @param wrap what calls go through. */
async function inRedis(
  urls: readonly string[],
  wrap: (store: ConversationStore) => ConversationStore = (store) => store,
): Promise<Opened> {
  const prefix = servers[0]!.prefix()
  const open = () =>
    redisStore(
      urls.map((url) => ({ url })),
      prefix,
    )
  let runs = open()
  return {
    store: wrap(redisConversations(runs)),
    async reopen() {
      await runs.close()
      runs = open()
      return wrap(redisConversations(runs))
    },
    [Symbol.asyncDispose]: () => runs.close(),
  }
}

const stores: { readonly [name: string]: () => Promise<Opened> } = {
  async memory() {
    const store = memoryConversations()
    return { store, reopen: () => Promise.resolve(store), async [Symbol.asyncDispose]() {} }
  },
  async sqlite() {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-conversations-'))
    let runs = sqlite({ path: join(folder, 'data.db') })
    const store = sqliteConversations(runs)
    return {
      store,
      async reopen() {
        await runs.close()
        runs = sqlite({ path: join(folder, 'data.db') })
        return sqliteConversations(runs)
      },
      async [Symbol.asyncDispose]() {
        await runs.close()
        await rm(folder, { recursive: true })
      },
    }
  },
  Redis: () => inRedis([servers[0]!.url]),
  'two Redis': () => inRedis(servers.map(({ url }) => url)),
  async 'Redis, which loses each connection with the answer to each call,'() {
    const loser = await ReplyLoser.of(servers[0]!)
    const opened = await inRedis([loser.url], (store) => loser.around(store))
    return {
      ...opened,
      async [Symbol.asyncDispose]() {
        await opened[Symbol.asyncDispose]()
        await loser[Symbol.asyncDispose]()
        expect(loser.lost).toBeGreaterThan(0)
      },
    }
  },
}

function conversation(of: Partial<StoredConversation> = {}): StoredConversation {
  const data = Uint8Array.of(1, 2)
  return { owner: 'alice', id: 'one', title: 'One', createdAt: 1, updatedAt: 1, version: 1, data, ...of }
}

function message(n: number, text: string): StoredMessage {
  return { id: `message-${n}`, n, at: 100 + n, text, data: new TextEncoder().encode(text) }
}

/** What is loaded of messages: a store may leave out their text. */
function loaded(stored: Awaited<ReturnType<ConversationStore['load']>>): unknown {
  return stored && { ...stored, messages: stored.messages.map(({ id, n, at, data }) => ({ id, n, at, data })) }
}

/** A stored conversation with these messages, as it is loaded. */
function whole(...messages: StoredMessage[]): unknown {
  return loaded({ conversation: conversation(), messages })
}

const textOf = ({ data }: LoadedMessage): string => new TextDecoder().decode(data)

const KEY = { owner: 'alice', id: 'one' }
const ids = (found: readonly { id: string }[]): string[] => found.map(({ id }) => id)

const canSearch = (name: string): boolean => !name.includes('Redis')

function storeSuite(name: string, make: () => Promise<Opened>): void {
  test('gives back what was saved, in the order of the messages, also when it is opened again', async () => {
    await using opened = await make()
    const messages = [message(1, 'hello'), message(2, 'there')]
    expect(await opened.store.save(conversation(), [messages[1]!, messages[0]!], 0)).toBe(true)
    const again = await opened.reopen()
    expect(loaded(await again.load(KEY))).toEqual(whole(...messages))
    expect(await again.load({ owner: 'bob', id: 'one' })).toBeUndefined()
  })

  test('replaces a message, and keeps its number', async () => {
    await using opened = await make()
    await opened.store.save(conversation(), [message(1, 'old'), message(2, 'two')], 0)
    await opened.store.save(conversation({ version: 2, title: 'New' }), [message(1, 'new')], 1)
    const changed = await opened.store.load(KEY)
    expect(changed?.messages.map(textOf)).toEqual(['new', 'two'])
    expect(changed?.conversation.title).toBe('New')
    if (!canSearch(name)) return
    expect(ids(await opened.store.search('alice', ['old'], 9))).toEqual([])
    expect(ids(await opened.store.search('alice', ['new'], 9))).toEqual(['message-1'])
  })

  test('stores nothing on another version than the expected one', async () => {
    await using opened = await make()
    await opened.store.save(conversation(), [message(1, 'one')], 0)
    expect(await opened.store.save(conversation({ version: 9 }), [message(2, 'two')], 0)).toBe(false)
    expect(await opened.store.save(conversation({ version: 9 }), [message(2, 'two')], 2)).toBe(false)
    expect(await opened.store.save(conversation({ id: 'other', version: 9 }), [], 1)).toBe(false)
    expect(loaded(await opened.store.load(KEY))).toEqual(whole(message(1, 'one')))
  })

  test('lists the conversations of an owner page by page, the latest first', async () => {
    await using opened = await make()
    for (const [id, updatedAt] of [
      ['a', 1],
      ['b', 3],
      ['c', 2],
      ['d', 3],
    ] as const)
      await opened.store.save(conversation({ id, updatedAt }), [], 0)
    await opened.store.save(conversation({ owner: 'bob', id: 'x', updatedAt: 9 }), [], 0)
    const first = await opened.store.list('alice', undefined, 3)
    expect(ids(first)).toEqual(['d', 'b', 'c'])
    expect(ids(await opened.store.list('alice', first.at(-1), 3))).toEqual(['a'])
    expect(ids(await opened.store.list('alice', { updatedAt: 3, id: 'd' }, 9))).toEqual(['b', 'c', 'a'])
    expect(await opened.store.count('alice')).toBe(4)
    expect(await opened.store.count('nobody')).toBe(0)
  })

  test('finds the messages of an owner with all words, also the beginnings of longer ones, whatever their case and accents', async () => {
    await using opened = await make()
    if (!canSearch(name)) {
      await opened.store.save(conversation(), [message(1, 'zurich')], 0)
      await expect(opened.store.search('alice', ['zurich'], 9)).rejects.toMatchObject({ code: 'unsupported' })
      return
    }
    await opened.store.save(conversation(), [message(1, 'Ein Café in Zürich'), message(2, 'zurich trains')], 0)
    await opened.store.save(conversation({ owner: 'bob' }), [message(3, 'Zürich')], 0)
    const find = async (text: string) => ids(await opened.store.search('alice', wordsOf(text), 9))
    expect(await find('ZÜRICH')).toEqual(['message-2', 'message-1'])
    expect(await find('cafe zur')).toEqual(['message-1'])
    expect(await find('urich')).toEqual([])
    expect(await find('near("a" OR b')).toEqual([])
    const [found] = await opened.store.search('alice', ['trains'], 1)
    expect(found).toMatchObject({ text: 'zurich trains', at: 102, conversation: { id: 'one', title: 'One' } })
  })

  test('removes a conversation with its messages, and all of an owner', async () => {
    await using opened = await make()
    await opened.store.save(conversation(), [message(1, 'secret')], 0)
    await opened.store.save(conversation({ id: 'two' }), [message(1, 'secret')], 0)
    expect(await opened.store.remove(KEY)).toBe(true)
    expect(await opened.store.remove(KEY)).toBe(false)
    expect(await opened.store.load(KEY)).toBeUndefined()
    if (canSearch(name)) expect(await opened.store.search('alice', ['secret'], 9)).toHaveLength(1)
    expect(await opened.store.save(conversation(), [], 0)).toBe(true)
    expect((await opened.store.load(KEY))?.messages).toEqual([])
    expect(await opened.store.removeAll('alice')).toBe(2)
    if (canSearch(name)) expect(await opened.store.search('alice', ['secret'], 9)).toEqual([])
  })

  test('lists ids of one time by their code units, and keeps what an id and an owner may have in them', async () => {
    await using opened = await make()
    const owner = 'a"l:i{c}e\u{1f600}'
    const named = ['\u{1f600}', '\uffee', '\uee00', 'z', 'a:b', 'a', '{x}', '\u00ef']
    for (const id of named) await opened.store.save(conversation({ owner, id }), [message(1, id)], 0)
    const listed = await opened.store.list(owner, undefined, 9)
    // SQLite sorts ids by their bytes, which differ for these only.
    if (name === 'sqlite') expect(ids(listed).sort()).toEqual([...named].sort())
    else expect(ids(listed)).toEqual([...named].sort().reverse())
    for (const id of named) {
      expect((await opened.store.load({ owner, id }))?.messages.map(textOf)).toEqual([id])
      const at = listed.findIndex((one) => one.id === id)
      expect(ids(await opened.store.list(owner, { updatedAt: 1, id }, 2))).toEqual(ids(listed.slice(at + 1, at + 3)))
    }
    expect(await opened.store.removeAll(owner)).toBe(named.length)
    expect(await opened.store.count(owner)).toBe(0)
  })
}

for (const [name, make] of Object.entries(stores))
  describe.skipIf(!HAS_REDIS && name.includes('Redis'))(`the ${name} store of conversations`, () =>
    storeSuite(name, make),
  )

test('a store of conversations in SQLite needs the store of runs of that file', () => {
  expect(() => sqliteConversations({})).toThrow('sqliteConversations() takes what sqlite()')
})

import { Packr } from 'msgpackr'
import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Argument, Reply } from '../stores/redis/client.ts'
import type { Script } from '../stores/redis/script.ts'
import { type RedisPlace, redisOf, type SharedRedis } from '../stores/redis/shared-redis.ts'
import {
  type ConversationKey,
  type ConversationStore,
  type FoundStoredMessage,
  type ListPosition,
  latestFirst,
  type SharedConversations,
  type StoredConversation,
  type StoredMessage,
} from './conversation-store.ts'
import { type ConversationScripts, readConversationScripts } from './redis-scripts.ts'

/** The options of `redisConversations()`. */
export type RedisConversationsOptions = {
  /**
   * How long a conversation is kept after its last change, in milliseconds. It should exceed the limit `maxWaitMs`, for
   * answers that wait for people. Default: until it is removed.
   */
  keepMs?: number | undefined
}

const OPTIONS: OptionKinds<RedisConversationsOptions> = { keepMs: 'a number' }

/**
 * Keeps conversations in the Redis of a store of runs that `redis()` of `millrace/server/redis` has made. Servers that
 * share the Redis share the conversations. A server that uses it must have the same store for its runs. Messages cannot
 * be searched: a search fails with `unsupported`.
 * @throws MillraceError `bad_request` for any other store, and for a wrong option.
 */
export function redisConversations(store: object, options: RedisConversationsOptions = {}): ConversationStore {
  checkOptions('redisConversations()', options, OPTIONS)
  const redis = redisOf(store)
  if (!redis)
    throw new MillraceError('bad_request', 'redisConversations() takes what redis() of millrace/server/redis returns')
  const { keepMs } = options
  if (keepMs !== undefined && (!Number.isSafeInteger(keepMs) || keepMs < 1))
    throw new MillraceError(
      'bad_request',
      `redisConversations(): keepMs must be a whole number of at least 1, not ${keepMs}`,
    )
  return new RedisConversations(redis, store, keepMs)
}

/** How many conversations are removed at once. */
const REMOVED_AT_ONCE = 100

/** Conversations in one Redis or several. A conversation is in one of them, found by its owner and its id. */
class RedisConversations implements ConversationStore, SharedConversations {
  readonly runs: object
  readonly #redis: SharedRedis
  readonly #keepMs: number
  readonly #scripts: ConversationScripts = readConversationScripts()

  constructor(redis: SharedRedis, runs: object, keepMs: number | undefined) {
    this.#redis = redis
    this.runs = runs
    this.#keepMs = keepMs ?? 0
  }

  get shared(): SharedConversations {
    return this
  }

  async load(key: ConversationKey): ReturnType<ConversationStore['load']> {
    const loaded = await this.#load(key, '')
    return loaded && { ...loaded, messages: loaded.messages.sort((one, other) => one.n - other.n) }
  }

  async loadSince(key: ConversationKey, version: number): ReturnType<SharedConversations['loadSince']> {
    return this.#load(key, `${version}`)
  }

  async #load(key: ConversationKey, since: string) {
    const reply = await this.#run(key, this.#scripts.load, [since])
    if (reply === null) return undefined
    const [record, messages] = reply as [Buffer[], Buffer[]]
    return { conversation: storedConversation(key, record), messages: messages.map(unpackMessage) }
  }

  async save(
    { owner, id, title, createdAt, updatedAt, version, data }: StoredConversation,
    messages: readonly StoredMessage[],
    expected: number,
    quietly = false,
  ): Promise<boolean> {
    const facts = [`${version}`, title, `${createdAt}`, `${updatedAt}`, bytes(data)]
    const place = [`${this.#keepMs}`, memberOf(id), this.#channelOf({ owner, id }), quietly ? '' : `${version}`]
    const puts = messages.flatMap((message) => [message.id, packMessage(message)])
    const args = [this.#redis.newName(), `${expected}`, ...facts, ...place, ...puts]
    return (await this.#run({ owner, id }, this.#scripts.save, args)) === 1
  }

  async remove(key: ConversationKey): Promise<boolean> {
    return (await this.#remove(key)) === 1
  }

  async removeAt(key: ConversationKey, version: number): Promise<boolean> {
    return (await this.#remove(key, version)) !== -1
  }

  async #remove(key: ConversationKey, expected?: number): Promise<Reply> {
    const args = [this.#redis.newName(), `${expected ?? ''}`, memberOf(key.id), this.#channelOf(key)]
    return this.#run(key, this.#scripts.remove, args)
  }

  async removeAll(owner: string): Promise<number> {
    const lists = await this.#ofAll(owner, this.#scripts.members, [])
    const ids = lists.flatMap((members) => (members as Buffer[]).map(idOf))
    let removed = 0
    for (let at = 0; at < ids.length; at += REMOVED_AT_ONCE) {
      const some = ids.slice(at, at + REMOVED_AT_ONCE).map((id) => this.remove({ owner, id }))
      for (const isRemoved of await Promise.all(some)) if (isRemoved) removed++
    }
    return removed
  }

  async count(owner: string): Promise<number> {
    const counts = await this.#ofAll(owner, this.#scripts.count, [])
    return counts.reduce<number>((sum, count) => sum + Number(count), 0)
  }

  async list(owner: string, before: ListPosition | undefined, most: number): Promise<readonly StoredConversation[]> {
    const behind = before ? [`${before.updatedAt}`, memberOf(before.id)] : ['', '']
    const args = [this.#keyOf('conversation', owner, ''), `${most}`, ...behind]
    const lists = (await this.#ofAll(owner, this.#scripts.list, args)) as Buffer[][][]
    return lists
      .flat()
      .map(([id, ...record]) => storedConversation({ owner, id: String(id) }, record))
      .sort(latestFirst)
      .slice(0, most)
  }

  // Redis has no index of words, and reading all messages of an owner would hold up everybody.
  search(): Promise<readonly FoundStoredMessage[]> {
    return Promise.reject(
      new MillraceError('unsupported', 'conversations that are kept in Redis cannot be searched by their words'),
    )
  }

  // --- shared

  async follow(key: ConversationKey, changed: (version?: number) => void): Promise<() => void> {
    const place = await this.#placeOf(key)
    return place.listen(this.#channelOf(key), (message) => changed(message && Number(String(message))))
  }

  async #run(key: ConversationKey, script: Script, args: readonly Argument[]): Promise<Reply> {
    const { owner, id } = key
    const keys = ['conversation', 'messages', 'versions', 'changes'].map((kind) => this.#keyOf(kind, owner, id))
    return (await this.#placeOf(key)).run(script, [...keys, ...this.#listsOf(owner)], args)
  }

  /** Each Redis has a list of its own: that of the conversations that are in it. */
  async #ofAll(owner: string, script: Script, args: readonly Argument[]): Promise<Reply[]> {
    await this.#redis.open()
    return Promise.all(this.#redis.all().map((place) => place.run(script, this.#listsOf(owner), args)))
  }

  async #placeOf({ owner, id }: ConversationKey): Promise<RedisPlace> {
    await this.#redis.open()
    return this.#redis.of(`${JSON.stringify(owner)}:${id}`)
  }

  /** An owner is in quotation marks: no two conversations have the same key. */
  #keyOf(kind: string, owner: string, id: string): string {
    return `${this.#redis.prefix}:${kind}:${JSON.stringify(owner)}:${id}`
  }

  #listsOf(owner: string): string[] {
    return ['conversations', 'expiries'].map((kind) => `${this.#redis.prefix}:${kind}:${JSON.stringify(owner)}`)
  }

  /** Says which version is stored; 0: none any more. */
  #channelOf({ owner, id }: ConversationKey): string {
    return this.#keyOf('changed', owner, id)
  }
}

/** Bytes in a store outlive this version of the package: what is added later must have a default. */
const packr = new Packr({ useRecords: false, variableMapSize: true, int64AsType: 'number', copyBuffers: true })

function packMessage({ id, n, at, text, data }: StoredMessage): Buffer {
  return packr.pack([id, n, at, text, data])
}

function unpackMessage(packed: Buffer): StoredMessage {
  const [id, n, at, text, data] = packr.unpack(packed) as [string, number, number, string, Uint8Array]
  return { id, n, at, text, data: new Uint8Array(data) }
}

function storedConversation({ owner, id }: ConversationKey, record: readonly Buffer[]): StoredConversation {
  const [version, title, createdAt, updatedAt] = record.map(String)
  const numbers = { version: Number(version), createdAt: Number(createdAt), updatedAt: Number(updatedAt) }
  return { owner, id, title: title!, ...numbers, data: new Uint8Array(record[4]!) }
}

/**
 * The member of a list that stands for an id. Redis sorts members by the bytes of UTF-8, and lists are in the order of
 * code units: those that begin with EE and EF come behind all others there.
 */
function memberOf(id: string): Buffer {
  return Buffer.from(Buffer.from(id).map((byte) => (byte === 0xee || byte === 0xef ? byte + SHIFT : byte)))
}

function idOf(member: Buffer): string {
  return String(Buffer.from(member.map((byte) => (byte >= 0xfe ? byte - SHIFT : byte))))
}

const SHIFT = 16

function bytes({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length)
}

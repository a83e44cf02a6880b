import { createHash } from 'node:crypto'
import { compileLua, type LuaScript, type LuaValue, textOf } from './lua.ts'
import { RedisData, RedisStream, type RedisValue, SortedSet } from './redis-data.ts'

/** What a command gives. Texts have one character for each byte. */
export type ModelReply = string | number | null | ModelReply[] | Status

/** `OK`, and the like. */
export class Status {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** What Redis says when it does not do a command. */
export class ReplyError extends Error {}

/** What a model takes from outside. */
type ModelRedisOptions = {
  /** In epoch milliseconds. */
  now(): number
  random(): number
  /** Something was said over a channel. */
  published(channel: string, message: string): void
}

const OK = new Status('OK')
const scripts = new Map<string, LuaScript>()
/** Of texts that were loaded, by every model: each of its connections loads all of them again. */
const hashes = new Map<string, string>()

function hashOf(text: string): string {
  let hash = hashes.get(text)
  if (hash === undefined) hashes.set(text, (hash = createHash('sha1').update(text, 'latin1').digest('hex')))
  return hash
}

/**
 * Redis 7.0, as far as the store uses it: commands and scripts on keys in memory. `test/simulation/model-redis.test.ts`
 * compares it with the real one.
 */
export class ModelRedis {
  readonly #options: ModelRedisOptions
  readonly data: RedisData
  /** The texts that it knows by their hashes. */
  readonly #known = new Map<string, string>()
  /** Nothing can be written that takes memory. */
  isFull = false
  /** A script has one time. */
  #time: number | undefined
  /** A script that has changed something may go on when there is no room. */
  #mayFill = true

  constructor(options: ModelRedisOptions) {
    this.#options = options
    this.data = new RedisData(() => this.time())
  }

  /** Forgets the texts of scripts, as a Redis does that starts. */
  forgetScripts(): void {
    this.#known.clear()
  }

  /** @throws ReplyError */
  run([name = '', ...args]: readonly string[]): ModelReply {
    const command = COMMANDS[name.toUpperCase()]
    if (!command) throw new ReplyError(`ERR unknown command '${name}'`)
    return command(this, args)
  }

  /** In epoch milliseconds. */
  time(): number {
    return this.#time ?? this.#options.now()
  }

  random(): number {
    return this.#options.random()
  }

  publish(channel: string, message: string): void {
    this.#options.published(channel, message)
  }

  load(text: string): string {
    const hash = hashOf(text)
    this.#known.set(hash, text)
    return hash
  }

  /** Runs a script that is known by its hash. */
  runKnown(hash: string, rest: readonly string[]): ModelReply {
    const text = this.#known.get(hash)
    if (text === undefined) throw new ReplyError('NOSCRIPT No matching script. Please use EVAL.')
    return this.runScript(text, rest)
  }

  #call(command: readonly string[]): ModelReply {
    const [name = ''] = command
    if (!this.#mayFill && FILLING.has(name))
      throw new ReplyError("OOM command not allowed when used memory > 'maxmemory'.")
    if (CHANGING.has(name)) this.#mayFill = true
    return this.run(command)
  }

  runScript(text: string, [count = '0', ...rest]: readonly string[]): ModelReply {
    let script = scripts.get(text)
    if (!script) scripts.set(text, (script = compileLua(text)))
    this.#time = this.#options.now()
    this.#mayFill = !this.isFull
    try {
      const made = script({
        keys: rest.slice(0, Number(count)),
        args: rest.slice(Number(count)),
        call: (args) => valueOf(this.#call(args.map(textOf))),
      })
      return replyOf(made)
    } catch (error) {
      throw error instanceof ReplyError ? error : new ReplyError(`ERR ${String(error)} script`)
    } finally {
      this.#time = undefined
    }
  }
}

/** Commands that take memory, and others that change something. */
const FILLING = new Set(['HSET', 'HSETNX', 'HINCRBY', 'ZADD', 'XADD', 'LPUSH', 'SET'])
const CHANGING = new Set(['DEL', 'UNLINK', 'HDEL', 'ZREM', 'XDEL', 'XTRIM', 'LTRIM', 'PEXPIRE', 'PEXPIREAT', 'PERSIST'])

/** A reply as a script has it. */
function valueOf(reply: ModelReply): LuaValue {
  if (reply === null) return false
  if (reply instanceof Status) return []
  return Array.isArray(reply) ? reply.map(valueOf) : reply
}

/** What a script has made as a reply. */
function replyOf(value: LuaValue): ModelReply {
  if (value === undefined || value === false) return null
  if (value === true) return 1
  if (typeof value === 'number') return Math.trunc(value)
  if (!Array.isArray(value)) return value as string
  const end = value.indexOf(undefined)
  return value.slice(0, end < 0 ? undefined : end).map(replyOf)
}

// --- commands

type Command = (redis: ModelRedis, args: readonly string[]) => ModelReply

const WRONG_TYPE = 'WRONGTYPE Operation against a key holding the wrong kind of value'

type Kind<Value extends RedisValue> = {
  is(value: RedisValue): value is Value
  make(): Value
  isEmpty(value: Value): boolean
}
const HASH: Kind<Map<string, string>> = {
  is: (value): value is Map<string, string> => value instanceof Map,
  make: () => new Map(),
  isEmpty: ({ size }) => size === 0,
}
const ZSET: Kind<SortedSet> = {
  is: (value): value is SortedSet => value instanceof SortedSet,
  make: () => new SortedSet(),
  isEmpty: ({ scores }) => scores.size === 0,
}
const LIST: Kind<string[]> = {
  is: (value): value is string[] => Array.isArray(value),
  make: () => [],
  isEmpty: ({ length }) => length === 0,
}
const STREAM: Kind<RedisStream> = {
  is: (value): value is RedisStream => value instanceof RedisStream,
  make: () => new RedisStream(),
  // A stream stays without its entries.
  isEmpty: () => false,
}

/** What a key has, of the right kind. */
function read<Value extends RedisValue>({ data }: ModelRedis, key: string, kind: Kind<Value>): Value | undefined {
  const value = data.get(key)
  if (value !== undefined && !kind.is(value)) throw new ReplyError(WRONG_TYPE)
  return value
}

/** Changes what a key has. One that has nothing any more is gone. */
function change<Value extends RedisValue, Result>(
  redis: ModelRedis,
  key: string,
  kind: Kind<Value>,
  how: (value: Value) => Result,
): Result {
  const value = read(redis, key, kind) ?? kind.make()
  const result = how(value)
  if (kind.isEmpty(value)) redis.data.delete(key)
  else redis.data.set(key, value)
  return result
}

function integer(text: string | undefined): number {
  if (text === undefined || !/^-?\d{1,19}$/.test(text))
    throw new ReplyError('ERR value is not an integer or out of range')
  return Number(text)
}

function float(text: string | undefined): number {
  const infinite = /^([+-]?)inf$/.exec(text ?? '')
  if (infinite) return infinite[1] === '-' ? -Infinity : Infinity
  const number = text === undefined || text === '' ? Number.NaN : Number(text)
  if (Number.isNaN(number)) throw new ReplyError('ERR value is not a valid float')
  return number
}

/** A score as a reply has it. */
function scoreText(score: number): string {
  return Number.isFinite(score) ? `${score}` : score > 0 ? 'inf' : '-inf'
}

/** The bound of a range of scores: `(` leaves it out. */
type Bound = { readonly at: number; readonly isOut: boolean }

function bound(text: string): Bound {
  const isOut = text.startsWith('(')
  const rest = isOut ? text.slice(1) : text
  if (/^[+-]?inf$/.test(rest)) return { at: rest.startsWith('-') ? -Infinity : Infinity, isOut }
  if (rest === '' || Number.isNaN(Number(rest))) throw new ReplyError('ERR min or max is not a float')
  return { at: Number(rest), isOut }
}

type Limit = { readonly offset: number; readonly count: number }

function byScore(set: SortedSet | undefined, range: readonly Bound[], isReverse: boolean, limit: Limit | undefined) {
  const [low, high] = range as [Bound, Bound]
  let found = (set?.sorted ?? []).filter(
    ([, score]) => (low.isOut ? score > low.at : score >= low.at) && (high.isOut ? score < high.at : score <= high.at),
  )
  if (isReverse) found = found.toReversed()
  if (!limit) return found
  if (limit.offset < 0) return []
  return found.slice(limit.offset, limit.count < 0 ? undefined : limit.offset + limit.count)
}

function membersOf(found: readonly (readonly [string, number])[], withScores: boolean): string[] {
  return found.flatMap(([member, score]) => (withScores ? [member, scoreText(score)] : [member]))
}

/** Places of a list from one to another, both included; negative ones count from the end. */
function places<T>(all: readonly T[], from: number, to: number): T[] {
  const at = (place: number): number => (place < 0 ? all.length + place : place)
  return all.slice(Math.max(0, at(from)), Math.max(0, at(to) + 1))
}

/** An id of a stream, whose second part is 0 here. */
function streamId(text: string, missing: number): number {
  if (text === '-' || text === '+') return text === '-' ? 0 : Infinity
  const found = /^(\d+)(?:-(\d+))?$/.exec(text)
  if (!found) throw new ReplyError('ERR Invalid stream ID specified as stream command argument')
  const second = found[2] ?? (missing === 0 ? '0' : '1')
  return Number(found[1]) + (second === '0' ? 0 : 0.5)
}

function idText(id: number): string {
  return `${Math.floor(id)}-${id % 1 === 0 ? 0 : 1}`
}

/** How many of the pairs were added. */
function setFields(hash: Map<string, string>, pairs: readonly string[]): number {
  const before = hash.size
  for (let i = 0; i < pairs.length; i += 2) hash.set(pairs[i]!, pairs[i + 1]!)
  return hash.size - before
}

function arity(name: string, isRight: boolean): void {
  if (!isRight) throw new ReplyError(`ERR wrong number of arguments for '${name}' command`)
}

const COMMANDS: { readonly [name: string]: Command } = {
  PING: () => new Status('PONG'),
  INFO: (_, [part]) => (part === 'memory' ? 'maxmemory_policy:noeviction\r\n' : 'cluster_enabled:0\r\n'),
  TIME: (redis) => {
    const now = redis.time()
    return [`${Math.floor(now / 1000)}`, `${Math.floor((now % 1000) * 1000)}`]
  },
  SCRIPT: (redis, [, text = '']) => redis.load(text),
  EVALSHA: (redis, [hash = '', ...rest]) => redis.runKnown(hash, rest),
  EVAL: (redis, [text = '', ...rest]) => {
    redis.load(text)
    return redis.runScript(text, rest)
  },
  PUBLISH: (redis, [channel = '', message = '']) => {
    redis.publish(channel, message)
    return 0
  },

  // --- keys
  GET: ({ data }, [key = '']) => {
    const value = data.get(key)
    if (value !== undefined && typeof value !== 'string') throw new ReplyError(WRONG_TYPE)
    return value ?? null
  },
  SET: ({ data }, [key = '', value = '', ...more]) => {
    if (more.includes('NX') && data.get(key) !== undefined) return null
    data.delete(key)
    data.set(key, value)
    return OK
  },
  DEL: ({ data }, keys) => keys.filter((key) => data.delete(key)).length,
  UNLINK: ({ data }, keys) => keys.filter((key) => data.delete(key)).length,
  EXISTS: ({ data }, keys) => keys.filter((key) => data.get(key) !== undefined).length,
  KEYS: ({ data }) => data.keys().sort(),
  TYPE: ({ data }, [key = '']) => {
    const value = data.get(key)
    if (value === undefined) return new Status('none')
    if (typeof value === 'string') return new Status('string')
    return new Status(HASH.is(value) ? 'hash' : ZSET.is(value) ? 'zset' : LIST.is(value) ? 'list' : 'stream')
  },
  PEXPIRE: (redis, [key = '', ms]) => expire(redis, key, redis.time() + integer(ms)),
  PEXPIREAT: (redis, [key = '', at]) => expire(redis, key, integer(at)),
  PERSIST: ({ data }, [key = '']) => {
    const at = data.expiresAt(key)
    return at !== undefined && at !== Infinity && data.expireAt(key, Infinity) ? 1 : 0
  },
  PTTL: (redis, [key = '']) => {
    const at = redis.data.expiresAt(key)
    return at === undefined ? -2 : at === Infinity ? -1 : Math.round(at - redis.time())
  },

  // --- hashes
  HSET: (redis, [key = '', ...pairs]) => {
    arity('hset', pairs.length > 0 && pairs.length % 2 === 0)
    return change(redis, key, HASH, (hash) => setFields(hash, pairs))
  },
  HSETNX: (redis, [key = '', field = '', value = '']) =>
    change(redis, key, HASH, (hash) => (hash.has(field) ? 0 : setFields(hash, [field, value]))),
  HGET: (redis, [key = '', field = '']) => read(redis, key, HASH)?.get(field) ?? null,
  HMGET: (redis, [key = '', ...fields]) => {
    const hash = read(redis, key, HASH)
    return fields.map((field) => hash?.get(field) ?? null)
  },
  HGETALL: (redis, [key = '']) => [...(read(redis, key, HASH) ?? [])].flat(),
  HVALS: (redis, [key = '']) => [...(read(redis, key, HASH)?.values() ?? [])],
  HLEN: (redis, [key = '']) => read(redis, key, HASH)?.size ?? 0,
  HEXISTS: (redis, [key = '', field = '']) => (read(redis, key, HASH)?.has(field) ? 1 : 0),
  HDEL: (redis, [key = '', ...fields]) =>
    change(redis, key, HASH, (hash) => fields.filter((field) => hash.delete(field)).length),
  HINCRBY: (redis, [key = '', field = '', by]) => {
    const more = integer(by)
    return change(redis, key, HASH, (hash) => {
      const text = hash.get(field) ?? '0'
      if (!/^-?\d+$/.test(text)) throw new ReplyError('ERR hash value is not an integer')
      hash.set(field, `${Number(text) + more}`)
      return Number(text) + more
    })
  },

  // --- sorted sets
  ZADD: (redis, [key = '', ...rest]) => {
    const option = rest[0] === 'NX' || rest[0] === 'XX' ? rest[0] : undefined
    const pairs = option ? rest.slice(1) : rest
    const scores = pairs.filter((_, i) => i % 2 === 0).map(float)
    return change(redis, key, ZSET, (set) => {
      let added = 0
      for (const [i, score] of scores.entries()) {
        const member = pairs[2 * i + 1]!
        const isNew = !set.scores.has(member)
        if (option === 'NX' ? !isNew : option === 'XX' && isNew) continue
        set.set(member, score)
        if (isNew) added++
      }
      return added
    })
  },
  ZREM: (redis, [key = '', ...members]) =>
    change(redis, key, ZSET, (set) => members.filter((member) => set.delete(member)).length),
  ZCARD: (redis, [key = '']) => read(redis, key, ZSET)?.scores.size ?? 0,
  ZSCORE: (redis, [key = '', member = '']) => {
    const score = read(redis, key, ZSET)?.scores.get(member)
    return score === undefined ? null : scoreText(score)
  },
  ZRANGE: (redis, [key = '', from = '', to = '', ...more]) => {
    const at = more.indexOf('LIMIT')
    const limit = at < 0 ? undefined : { offset: integer(more[at + 1]), count: integer(more[at + 2]) }
    const isReverse = more.includes('REV')
    const withScores = more.includes('WITHSCORES')
    if (more.includes('BYSCORE')) {
      const range = isReverse ? [bound(to), bound(from)] : [bound(from), bound(to)]
      return membersOf(byScore(read(redis, key, ZSET), range, isReverse, limit), withScores)
    }
    const [first, last] = [integer(from), integer(to)]
    const all = read(redis, key, ZSET)?.sorted ?? []
    return membersOf(places(isReverse ? all.toReversed() : all, first, last), withScores)
  },
  ZRANGEBYSCORE: (redis, [key = '', min = '', max = '', ...more]) => {
    const limit = more[0] === 'LIMIT' ? { offset: integer(more[1]), count: integer(more[2]) } : undefined
    const range = [bound(min), bound(max)]
    return membersOf(byScore(read(redis, key, ZSET), range, false, limit), false)
  },
  ZRANDMEMBER: (redis, [key = '', count]) => {
    const members = [...(read(redis, key, ZSET)?.scores.keys() ?? [])]
    const some: string[] = []
    for (let n = integer(count); n > 0 && members.length > 0; n--)
      some.push(...members.splice(Math.floor(redis.random() * members.length), 1))
    return some
  },

  // --- lists
  LPUSH: (redis, [key = '', ...values]) => change(redis, key, LIST, (list) => list.unshift(...values.toReversed())),
  LRANGE: (redis, [key = '', from, to]) => {
    const [first, last] = [integer(from), integer(to)]
    return places(read(redis, key, LIST) ?? [], first, last)
  },
  LPOS: (redis, [key = '', value = '']) => {
    const at = (read(redis, key, LIST) ?? []).indexOf(value)
    return at < 0 ? null : at
  },
  LTRIM: (redis, [key = '', from, to]) => {
    const [first, last] = [integer(from), integer(to)]
    change(redis, key, LIST, (list) => list.splice(0, list.length, ...places(list, first, last)))
    return OK
  },

  // --- streams
  XADD: (redis, [key = '', id = '', ...fields]) => {
    arity('xadd', fields.length > 0 && fields.length % 2 === 0)
    const at = streamId(id, 0)
    return change(redis, key, STREAM, (stream) => {
      if (at <= stream.lastId)
        throw new ReplyError('ERR The ID specified in XADD is equal or smaller than the target stream top item')
      stream.entries.push({ id: at, fields })
      stream.lastId = at
      return idText(at)
    })
  },
  XDEL: (redis, [key = '', ...ids]) => {
    if (!read(redis, key, STREAM)) return 0
    const gone = new Set(ids.map((id) => streamId(id, 0)))
    return change(redis, key, STREAM, (stream) => {
      const before = stream.entries.length
      stream.entries = stream.entries.filter(({ id }) => !gone.has(id))
      return before - stream.entries.length
    })
  },
  XRANGE: (redis, [key = '', from = '', to = '', ...more]) => {
    const count = more[0] === 'COUNT' ? integer(more[1]) : undefined
    const isOut = from.startsWith('(')
    const low = streamId(isOut ? from.slice(1) : from, 0)
    const high = streamId(to, 1)
    const entries = read(redis, key, STREAM)?.entries ?? []
    const found = entries.filter(({ id }) => (isOut ? id > low : id >= low) && id <= high)
    return found.slice(0, count).map(({ id, fields }) => [idText(id), [...fields]])
  },
  XTRIM: (redis, [key = '', , minId = '']) => {
    if (redis.data.get(key) === undefined) return 0
    const low = streamId(minId, 0)
    return change(redis, key, STREAM, (stream) => {
      const before = stream.entries.length
      stream.entries = stream.entries.filter(({ id }) => id >= low)
      return before - stream.entries.length
    })
  },
}

function expire(redis: ModelRedis, key: string, at: number): number {
  const { data } = redis
  if (data.get(key) === undefined) return 0
  if (at <= redis.time()) data.delete(key)
  else data.expireAt(key, at)
  return 1
}

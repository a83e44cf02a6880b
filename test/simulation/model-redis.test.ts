import { createClient, ErrorReply, RESP_TYPES } from 'redis'
import { describe, expect, test } from 'vitest'
import { ModelRedis, type ModelReply, ReplyError, Status } from '../helpers/model-redis/model-redis.ts'
import { HAS_REDIS, RedisServer } from '../helpers/redis-server.ts'
import { firstSeed, repetitions } from '../helpers/tier.ts'
import { type Command, RedisCommands } from './redis-commands.ts'
import { Chance } from './virtual-time.ts'

const SEQUENCES = repetitions({ quick: 40, full: 300, long: 10_000 })
const COMMANDS = 200

/** Replies as texts: `+` for a status, `-` and its first word for an error. */
type Said = string | number | null | readonly Said[]

describe.skipIf(!HAS_REDIS)('the model of Redis', () => {
  test(`says in ${SEQUENCES} sequences of random commands what redis-server says, and has the same keys then`, {
    timeout: 3_600_000,
  }, async () => {
    await using server = await RedisServer.start()
    await using real = await Real.open(server.url)
    const first = firstSeed()
    for (let seed = first; seed < first + SEQUENCES; seed++) {
      const { commands, replies, published } = modelled(seed)
      const said = await real.run(commands)
      const i = replies.findIndex((reply, at) => !agree(commands[at]!, reply, said.replies[at]))
      const of = i < 0 ? 'no command' : shown(commands[i]!)
      expect({ seed, of, said: replies[i] }).toEqual({ seed, of: 'no command', said: said.replies[i] })
      expect({ seed, published }).toEqual({ seed, published: said.published })
    }
  })

  test('that is full refuses what redis-server refuses', async () => {
    await using server = await RedisServer.start()
    await using real = await Real.open(server.url)
    const first = firstSeed()
    for (let seed = first; seed < first + SEQUENCES / 10; seed++) {
      const { commands, replies } = modelled(seed, true)
      await server.command('FLUSHALL')
      await real.run(commands.slice(0, FILLED), false)
      await server.full(true)
      const said = await real.run(commands.slice(FILLED), false)
      await server.full(false)
      expect({ seed, replies: said.replies }).toEqual({ seed, replies: replies.slice(FILLED) })
    }
  })
})

/** How many commands come before a Redis is full. */
const FILLED = 120

/** Random commands, and what the model makes of them: at last of those that read everything that it has. */
function modelled(seed: number, fills = false) {
  const chance = new Chance(seed)
  const published: string[] = []
  const now = Date.now()
  const model = new ModelRedis({
    now: () => now,
    random: () => chance.next(),
    published: (channel, message) => void published.push(`${channel} ${message}`),
  })
  const fieldOf = (key: string, field: string): string | undefined => {
    const value = model.data.get(key)
    return value instanceof Map ? value.get(field) : undefined
  }
  const random = new RedisCommands(chance, fieldOf)
  const commands: Command[] = []
  const replies: Said[] = []
  const feed = (command: Command): void => {
    model.isFull = fills && commands.length >= FILLED
    // A plain command that takes room is refused by the server itself, which the store has only in scripts.
    if (model.isFull && command[0] !== 'EVAL') return
    commands.push(command)
    replies.push(sorted(command, saidOf(model, command)))
  }
  for (const command of random.clock()) feed(command)
  while (commands.length < COMMANDS) for (const command of random.next()) feed(command)
  if (!fills) for (const key of model.data.keys().sort()) for (const command of readsOf(model, key)) feed(command)
  if (!fills) feed(['KEYS', '*'])
  return { commands, replies, published }
}

/** What reads all that a key has, and whether it expires. */
function readsOf(model: ModelRedis, key: string): Command[] {
  const type = saidOf(model, ['TYPE', key])
  const how: { readonly [type: string]: Command } = {
    '+hash': ['HGETALL', key],
    '+zset': ['ZRANGE', key, '0', '-1', 'WITHSCORES'],
    '+list': ['LRANGE', key, '0', '-1'],
    '+stream': ['XRANGE', key, '-', '+'],
    '+string': ['GET', key],
  }
  return [['TYPE', key], how[String(type)]!, ['PTTL', key]]
}

function saidOf(model: ModelRedis, command: Command): Said {
  try {
    return plain(model.run(command))
  } catch (error) {
    if (!(error instanceof ReplyError)) throw error
    return `-${error.message.split(' ')[0]}`
  }
}

function plain(reply: ModelReply): Said {
  if (reply instanceof Status) return `+${reply.text}`
  return Array.isArray(reply) ? reply.map(plain) : reply
}

/** A time that is left may have passed in part until the real one was asked. */
const PASSED_MS = 10_000

function agree([name]: Command, modelled: Said, real: Said | undefined): boolean {
  if (name === 'PTTL' && typeof modelled === 'number' && typeof real === 'number' && modelled > 0 && real > 0)
    return Math.abs(modelled - real) < PASSED_MS
  return JSON.stringify(modelled) === JSON.stringify(real)
}

/** Large hashes have no order. */
function sorted([name, text = '']: Command, said: Said): Said {
  const isUnordered = ['HGETALL', 'KEYS', 'ZRANDMEMBER'].includes(name!) || /HGETALL|HVALS/.test(text)
  return isUnordered ? parts(said) : said
}

/** All that a reply has, in an order of its own. */
function parts(said: Said): Said {
  if (!Array.isArray(said)) return said
  return (said as readonly Said[])
    .map(parts)
    .map((part) => JSON.stringify(part))
    .sort()
}

/** A command without the text of its script. */
function shown(command: Command): Command {
  if (command[0] !== 'EVAL') return command
  return ['EVAL', command[1]!.split('\n').slice(-40).join('\n'), ...command.slice(2)]
}

/** A real Redis, and what it says over all channels. */
class Real implements AsyncDisposable {
  readonly #client
  readonly #hears
  #published: string[] = []

  private constructor(url: string) {
    this.#client = createClient({
      url,
      RESP: 2,
      commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    })
    this.#hears = createClient({ url, RESP: 2 })
    // What fails is said to who asked.
    for (const client of [this.#client, this.#hears]) client.on('error', () => {})
  }

  static async open(url: string): Promise<Real> {
    const real = new Real(url)
    await Promise.all([real.#client.connect(), real.#hears.connect()])
    const heard = (message: Buffer, channel: Buffer): void =>
      void real.#published.push(`${channel.toString('latin1')} ${message.toString('latin1')}`)
    await real.#hears.pSubscribe('*', heard, true)
    return real
  }

  async run(commands: readonly Command[], isFresh = true): Promise<{ replies: Said[]; published: string[] }> {
    if (isFresh) await this.#client.sendCommand(['FLUSHALL'])
    this.#published = []
    const sent = commands.map(async (command): Promise<Said> => {
      try {
        const reply: unknown = await this.#client.sendCommand(command.map((part) => Buffer.from(part, 'latin1')))
        // Nobody listens to the model.
        return sorted(command, realReply(reply))
      } catch (error) {
        if (!(error instanceof ErrorReply)) throw error
        return `-${error.message.split(' ')[0]}`
      }
    })
    const replies = await Promise.all(sent)
    await this.#client.sendCommand(['PUBLISH', 'over', 'over'])
    while (this.#published.at(-1) !== 'over over') await new Promise((resolve) => setTimeout(resolve, 1))
    return { replies, published: this.#published.slice(0, -1) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#client.close(), this.#hears.close()])
  }
}

function realReply(reply: unknown): Said {
  if (Buffer.isBuffer(reply)) return reply.toString('latin1')
  if (typeof reply === 'string') return `+${reply}`
  return Array.isArray(reply) ? reply.map(realReply) : (reply as number | null)
}

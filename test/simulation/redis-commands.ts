import type { ConversationScripts } from '../../server/conversations/redis-scripts.ts'
import { readConversationScripts } from '../../server/conversations/redis-scripts.ts'
import { RunKeys } from '../../server/stores/redis/run-keys.ts'
import type { Script } from '../../server/stores/redis/script.ts'
import { SCRIPTS } from '../../server/stores/redis/scripts.ts'
import type { Chance } from './virtual-time.ts'

/** A command, of which every argument is a text with one character for each byte. */
export type Command = readonly string[]

/** Where the scripts of a comparison read the time: two Redis have no clock in common. */
const CLOCK = 'clock'
const KEYS = new RunKeys('t')
const IDS = Array.from({ length: 12 }, (_, n) => `r${n}`)
const [BEFORE, BEHIND] = KEYS.metaOf
const CONVERSATIONS: ConversationScripts = readConversationScripts()

/** Random commands: those of the store with arguments that it would give, and others that it would not. */
export class RedisCommands {
  readonly #chance: Chance
  /** What a hash has now. */
  readonly #fieldOf: (key: string, field: string) => string | undefined
  #now = 1_700_000_000_000
  #last = 0

  constructor(chance: Chance, fieldOf: (key: string, field: string) => string | undefined) {
    this.#chance = chance
    this.#fieldOf = fieldOf
  }

  /** Sets the time that scripts read. */
  clock(): Command[] {
    const [sec, usec] = [Math.floor(this.#now / 1000), (this.#now % 1000) * 1000]
    return [
      ['DEL', CLOCK],
      ['LPUSH', CLOCK, `${usec}`, `${sec}`],
    ]
  }

  next(): Command[] {
    const dice = this.#chance.next()
    if (dice < 0.1) {
      this.#now += this.#chance.pick([1, 30, 400, 3_000])
      return this.clock()
    }
    if (dice < 0.3) return [this.#plain()]
    if (dice < 0.45) return [this.#ofConversations()]
    return [this.#ofRuns()]
  }

  // --- plain commands

  #plain(): Command {
    const { pick } = bind(this.#chance)
    const key = pick(['h1', 'h2', 'z1', 'z2', 's1', 'l1', 'x1'])
    const field = pick(['a', 'b', 'c', '', 'ä\x00ÿ'])
    const number = pick(['0', '1', '-1', '3', '2.5', '-inf', '+inf', 'x', '17'])
    const range = pick(['0', '-1', '1', '-2', '5', '(1', '-inf', '+inf', '(2.5'])
    const other = pick(['0', '-1', '1', '-2', '5', '(3', '-inf', '+inf'])
    const id = pick(['1-0', '2-0', '3', '5-0', '9-0', 'x', '-', '+', '(2-0'])
    return pick<() => Command>([
      () => ['HSET', key, field, number],
      () => ['HSET', key, field, number, 'a', '5'],
      () => ['HSET', key, field],
      () => ['HSETNX', key, field, number],
      () => ['HGET', key, field],
      () => ['HMGET', key, field, 'a'],
      () => ['HDEL', key, field, 'b'],
      () => ['HLEN', key],
      () => ['HEXISTS', key, field],
      () => ['HINCRBY', key, field, number],
      () => ['ZADD', key, number, field],
      () => ['ZADD', key, pick(['NX', 'XX']), number, field],
      () => ['ZREM', key, field, 'a'],
      () => ['ZCARD', key],
      () => ['ZSCORE', key, field],
      () => ['ZRANGE', key, number, other],
      () => ['ZRANGE', key, range, other, 'BYSCORE', 'WITHSCORES'],
      () => ['ZRANGE', key, range, other, 'BYSCORE', 'REV', 'LIMIT', pick(['0', '1', '-1']), pick(['1', '2', '-1'])],
      () => ['ZRANGEBYSCORE', key, range, other, 'LIMIT', '0', '2'],
      () => ['ZRANDMEMBER', key, '100'],
      () => ['LPUSH', key, field, number],
      () => ['LRANGE', key, number, other],
      () => ['LPOS', key, field],
      () => ['LTRIM', key, number, other],
      () => ['XADD', key, pick(['1-0', '2-0', '4-0', '5-0', '9-0', 'x']), 'd', field],
      () => ['XDEL', key, pick(['1-0', '2-0', '4-0'])],
      () => ['XRANGE', key, id, pick(['+', '4-0', '9'])],
      () => ['XRANGE', key, id, '+', 'COUNT', pick(['1', '2'])],
      () => ['XTRIM', key, 'MINID', pick(['2-0', '5-0'])],
      () => ['SET', key, field],
      () => ['SET', key, field, 'NX'],
      () => ['GET', key],
      () => ['DEL', key, 'h1'],
      () => ['UNLINK', key],
      () => ['EXISTS', key, 'h1'],
      () => ['TYPE', key],
      () => ['PEXPIRE', key, pick(['600000', '0', '-5', 'x'])],
      () => ['PEXPIREAT', key, pick(['1', '9000000000000'])],
      () => ['PERSIST', key],
      () => ['EVALSHA', 'f'.repeat(40), '0'],
      () => ['NOTHING', key],
    ])()
  }

  // --- runs

  #ofRuns(): Command {
    const { pick, of, int } = bind(this.#chance)
    const id = pick(IDS)
    const principal = `p${IDS.indexOf(id) % 4}`
    const node = pick(['a', 'b', 'c'])
    const has = (field: string): string | undefined => this.#fieldOf(`${BEFORE}${id}${BEHIND}`, field)
    const fence = of(0.85) ? (has('fe') ?? '1') : pick(['a/1', '2', `${this.#now}`])
    const nonce = `${node}/${int(3)}`
    const channel = KEYS.channelOf(id)
    const packed = bytes(this.#chance, int(20))
    const lease = pick(['1000', '5000'])
    const pool = pick(['', '', 'slow'])
    const run = (script: Script, ...args: string[]): Command => evaluate(script, KEYS.of(id, principal), args)
    const on = (script: Script, key: string, ...args: string[]): Command => evaluate(script, [key], args)
    const S = SCRIPTS
    const append = (count: number): Command => {
      const all = Array.from({ length: count }, () => this.#append(id, principal, fence, has))
      const args = all.flatMap(([, each]) => [`${each.length}`, ...each])
      return evaluate(
        S.append,
        all.flatMap(([keys]) => keys),
        args,
      )
    }
    return pick<() => Command>([
      () => {
        const facts = ['chat', principal, `${this.#now}`, packed, pick(['', 'meta']), pick(['', '=key'])]
        const place = [BEFORE, BEHIND, KEYS.waiting, pool, '2000', '2']
        return run(S.begin, id, nonce, node, lease, '600000', ...facts, ...place)
      },
      () => append(1),
      () => append(1),
      () => append(2),
      () =>
        run(
          S['take-over'],
          id,
          node,
          lease,
          '600000',
          channel,
          '3',
          KEYS.waiting,
          pick(['', 'stop', '+slow', '+fast']),
          KEYS.lists,
        ),
      () => run(S.release, id, fence, channel, KEYS.waiting, '600000'),
      () => run(S['put-back'], id, fence, channel, KEYS.waiting, '600000'),
      () => run(S.renew, id, fence, lease, pick(['', '700000'])),
      () => run(S.look, fence, pick(['0', '1', '5'])),
      () => run(S.find),
      () => run(S.summary),
      () => run(S.read, pick(['0', '1', '3', '9']), pick(['10', '1000']), pick(['1', '100'])),
      () => run(S.ask, nonce, packed, pick(['2', '256']), pick(['30', '4000']), '1000', KEYS.nodes, id),
      () => run(S.answer, fence, pick(['1', '2', '3', has('qn') ?? '1']), packed, KEYS.nodes, id),
      () => run(S.answered, nonce),
      () => run(S.answered, nonce, 'forget'),
      () => run(S.attend, node, pick(['500', '5000']), pick(['', 'one', 'two', packed]), KEYS.nodes, id),
      () => (of(0.2) ? run(S.remove, id, channel, KEYS.lists, KEYS.waiting) : run(S.find)),
      () => on(S.abandoned, KEYS.live, BEFORE, BEHIND, pick(['1', '100'])),
      () => on(S.live, KEYS.live, pick(['0', '2']), pick(['1', '100']), BEFORE, BEHIND),
      () => on(S.list, KEYS.listOf(principal), pick(['+inf', `${this.#now}`]), '0', pick(['1', '5']), BEFORE, BEHIND),
      () => on(S['notice-add'], KEYS.outbox, `n${int(6)}`, packed),
      () => on(S['notice-take'], KEYS.outbox, pick(['1', '5']), '700'),
      () => on(S['notice-put-off'], KEYS.outbox, `n${int(6)}`, '900'),
      () => on(S['notice-remove'], KEYS.outbox, `n${int(6)}`),
      () => on(S['notice-trim'], KEYS.outbox, pick(['1', '4'])),
    ])()
  }

  #append(
    id: string,
    principal: string,
    fence: string,
    has: (field: string) => string | undefined,
  ): [keys: string[], args: string[]] {
    const { pick, of, int } = bind(this.#chance)
    const last = Number(has('s') ?? '0')
    const first = of(0.85) ? last + 1 : Math.max(1, last + pick([-1, 0, 2]))
    const more = int(4)
    const isBatch = of(0.8)
    const items = isBatch ? [`${first}`, `${first + more}`, bytes(this.#chance, 1 + int(60))] : [`${first}`, '', '']
    const isEnd = of(0.15)
    const end = isEnd ? [`${isBatch ? first + more + 1 : last + 1}`, 'done', 'end'] : ['', '', '']
    const number = of(0.9) ? ++this.#last : int(this.#last + 1)
    const notices = pick([[], [], [`n${int(6)}`, 'body']])
    const inputs = pick([[], [], [`m${int(4)}`, 'input', `m${int(4)}`, 'other']])
    const parked = pick(['', '', '0', '1bytes'])
    const outbox = [KEYS.outbox, `${notices.length / 2}`, ...notices]
    const rest = [...items, ...end, parked, pick(['', 'cost']), ...outbox, ...inputs]
    const how = ['1000', '60000', pick(['100', '1000000']), KEYS.channelOf(id)]
    return [KEYS.of(id, principal), [id, fence, `${number}`, ...how, ...rest]]
  }

  // --- conversations

  #ofConversations(): Command {
    const { pick, int } = bind(this.#chance)
    const id = pick(['c1', 'c2', 'c3\xff', 'd\xfe'])
    const keys = ['conversation', 'messages', 'versions', 'changes'].map((kind) => `t:${kind}:"o":${id}`)
    const lists = ['t:conversations:"o"', 't:expiries:"o"']
    const version = this.#fieldOf(keys[0]!, 'v') ?? '0'
    const all = (script: Script, ...args: string[]): Command => evaluate(script, [...keys, ...lists], args)
    const ofOwner = (script: Script, ...args: string[]): Command => evaluate(script, lists, args)
    const name = `change${int(8)}`
    const C = CONVERSATIONS
    return pick<() => Command>([
      () => {
        const created = this.#fieldOf(keys[0]!, 'c') ?? '1700000000001'
        const facts = [`${Number(version) + 1}`, 'title', created, `${this.#now}`, bytes(this.#chance, 9)]
        const place = [pick(['0', '5000']), id, 't:changed', pick(['', '1'])]
        const expected = pick([version, version, '7'])
        return all(C.save, name, expected, ...facts, ...place, `m${int(5)}`, bytes(this.#chance, 12))
      },
      () => all(C.load, pick(['', '0', '2'])),
      () => all(C.remove, name, pick(['', version, '9']), id, 't:changed'),
      () => ofOwner(C.count),
      () => ofOwner(C.members),
      () =>
        ofOwner(
          C.list,
          't:conversation:"o":',
          pick(['1', '5']),
          ...pick([
            ['', ''],
            [`${this.#now}`, 'c2'],
          ]),
        ),
    ])()
  }
}

/** The methods of a chance, by themselves. */
function bind(chance: Chance) {
  return {
    pick: <T>(from: readonly T[]): T => chance.pick(from),
    of: (p: number): boolean => chance.of(p),
    int: (n: number): number => chance.int(n),
  }
}

function bytes(chance: Chance, length: number): string {
  return String.fromCharCode(...Array.from({ length }, () => chance.int(256)))
}

function evaluate({ text }: Script, keys: readonly string[], args: readonly string[]): Command {
  const timed = text.replace("redis.call('TIME')", `redis.call('LRANGE', '${CLOCK}', 0, 1)`)
  return ['EVAL', timed, `${keys.length}`, ...keys, ...args]
}

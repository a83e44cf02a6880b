import { setMaxListeners } from 'node:events'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MillraceError } from '../../../protocol/errors.ts'
import { redis } from '../../../server/stores/redis/redis.ts'
import type { RedisStore } from '../../../server/stores/redis/redis-store.ts'
import { storeError } from '../../../server/stores/redis/store-error.ts'
import type { Batch, Holder, Lease, NewRun, StoredEnd } from '../../../server/stores/run-store.ts'
import { freePort } from '../../helpers/free-port.ts'
import { REDIS_OPTIONS, redisStore } from '../../helpers/redis-harness.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'
import { root } from '../../helpers/root.ts'

const LEASE_MS = 1_000

function batch(first: number, last: number, gen = 1): Batch {
  return { gen, first, last, at: 1_700_000_000_000, index: new Uint8Array(3), bodies: new Uint8Array([first % 256]) }
}

const END: Omit<StoredEnd, 'seq'> = { outcome: 'done', packed: new Uint8Array([1]) }

function newRun(key?: NewRun['key']): NewRun {
  return { facts: { actor: 'count', principal: 'alice', startedAt: 1_000, packed: new Uint8Array(20) }, key }
}

/** What a call gives at last. A store that waits for Redis to answer refuses each call at once. */
async function untilAnswered<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    const answer = await call().catch(() => undefined)
    if (answer !== undefined) return answer
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** A holder that notes what it hears. */
class Heard implements Holder {
  readonly words: string[] = []
  readonly #numbers = new Map<string, number>()
  readonly #waiting: (() => void)[] = []

  #note(word: string): void {
    this.words.push(word)
    for (const wake of this.#waiting.splice(0)) wake()
  }
  lost(): void {
    this.#note('lost')
  }
  doubted(): void {
    this.#note('doubted')
  }
  asked({ n, packed }: { n: number; packed: Uint8Array }): void {
    if (!this.#numbers.has(packed.join())) this.#numbers.set(packed.join(), n)
    this.#note(`asked ${packed.join()}`)
  }
  attended(readers: ReadonlyMap<string, Uint8Array>): void {
    this.#note(`attended by ${readers.size}`)
  }
  /** The number of the first such ask. */
  numberOf(packed: number): number {
    return this.#numbers.get(`${packed}`) ?? 0
  }
  async until(word: string): Promise<void> {
    while (!this.words.includes(word)) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }
}

describe('the options of redis()', () => {
  test.each([
    [{ url: '' }, 'url must be an address'],
    [{ url: [] }, 'needs the option url'],
    [{ url: 'http://127.0.0.1' }, 'url must be an address'],
    [{ url: ['redis://a', 'redis://a'] }, 'names the same Redis twice'],
    [{ url: 'redis://a', prefix: 'a b' }, 'prefix must be'],
    [{ url: 'redis://a', secret: 'short' }, 'secret must be'],
    [{ url: 'redis://a', leaseMs: 10 }, 'leaseMs must be'],
    [{ url: 'redis://a', keepMs: 0 }, 'keepMs must be'],
  ])('are checked: %j', (options, words) => {
    expect(() => redis(options)).toThrow(words)
  })

  test('never repeat a password in an error', () => {
    expect(() => redis({ url: 'http://user:swordfish@host' })).toThrow(/^(?!.*swordfish)/)
  })
})

describe('what Redis says is a failure', () => {
  const OOM = "OOM command not allowed when used memory > 'maxmemory'."
  const in62 = (said: string): string =>
    `ERR Error running script (call to f_4a2b): @user_script:12: @user_script: 12: ${said}`
  test.each([
    [OOM, 'is full: raise its maxmemory', true],
    [`${OOM} script: 4a2b, on @user_script:12.`, 'is full: raise its maxmemory', true],
    [in62(`-${OOM}`), 'is full: raise its maxmemory', true],
    [in62("-READONLY You can't write against a read only replica."), 'name its primary', true],
    [in62('-MISCONF Redis is configured to save RDB snapshots, but it cannot'), 'cannot write its disk', true],
    [in62("The user executing the script can't run this command or subcommand"), 'may not do that', false],
    [in62('Unknown Redis command called from Lua script'), 'Unknown Redis command', false],
    ['ERR max number of clients reached', 'takes no more connections: raise its maxclients', true],
    ['ERR unknown command', 'unknown command', false],
  ])('with words and a chance of its own: %s', (said, words, retryable) => {
    const error = storeError('127.0.0.1:6379', new Error(said))
    expect(error).toMatchObject({ code: 'store_unavailable', retryable })
    expect(error.message).toContain(words)
  })
})

describe.skipIf(!HAS_REDIS)('Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await RedisServer.start()
  })
  afterAll(() => server[Symbol.asyncDispose]())

  async function open(options = {}, prefix = server.prefix()): Promise<RedisStore & AsyncDisposable> {
    const store = redisStore([server], prefix, { leaseMs: LEASE_MS, ...options })
    await store.open()
    return Object.assign(store, { [Symbol.asyncDispose]: () => store.close() })
  }

  describe('that cannot be used says why, and what to do', () => {
    const refusal = async (url: string): Promise<MillraceError> => {
      const failed: unknown = await redis({ url })
        .open()
        .then(
          () => undefined,
          (error: unknown) => error,
        )
      expect(failed).toBeInstanceOf(MillraceError)
      return failed as MillraceError
    }

    test('when nobody listens', async () => {
      const port = await freePort()
      const { message, retryable } = await refusal(`redis://:swordfish@127.0.0.1:${port}`)
      expect(message).toBe(`no Redis listens at 127.0.0.1:${port}: start it, or correct the address`)
      expect(retryable).toBe(true)
    })

    test('when it wants a password, or another one', async () => {
      await using locked = await RedisServer.start('--requirepass', 'swordfish')
      expect(await refusal(locked.url)).toMatchObject({
        message: expect.stringContaining('wants a password') as string,
      })
      const wrong = locked.url.replace('//', '//:wrong@')
      expect(await refusal(wrong)).toMatchObject({
        message: expect.stringContaining('refuses the user or the password') as string,
        retryable: false,
      })
    })

    test('when its user may not do what is needed; the rights that the documents list are enough', async () => {
      await using guarded = await RedisServer.start()
      const page = readFileSync(`${root}docs/redis.md`, 'utf8')
      const [, rights = ''] = /^ACL SETUSER millrace on (.*)$/m.exec(page) ?? []
      const allowed = rights.replaceAll('PREFIX', 'p').replace('PASSWORD', 'swordfish').split(' ')
      await guarded.command('ACL', 'SETUSER', 'millrace', 'on', ...allowed)
      const url = guarded.url.replace('//', '//millrace:swordfish@')
      const store = redis({ url, prefix: 'p' })
      await store.open()
      const lease = (await store.begin('r1', newRun())) as Lease
      const heard = new Promise(
        (resolve) => void store.shared!.follow('r1', resolve).then(() => lease.append({ batch: batch(1, 1) })),
      )
      expect(await heard).toEqual(batch(1, 1))
      expect(await store.list('alice', undefined, 5)).toHaveLength(1)
      expect(await store.abandoned(5)).toEqual([])
      await store.outbox!.add([{ id: 'n1', body: new Uint8Array([1]) }])
      expect(await store.outbox!.trim(5)).toEqual({ removed: 0, left: 1 })
      expect(await store.outbox!.take(5, 1)).toMatchObject([{ id: 'n1' }])
      await store.outbox!.putOff('n1', 1)
      await store.outbox!.remove('n1')
      await guarded.command('ACL', 'SETUSER', 'millrace', '-time')
      await expect(store.begin('r2', newRun())).rejects.toMatchObject({
        message: expect.stringContaining('may not do that') as string,
        retryable: false,
      })
      await store.close()
    })

    test('when it takes no more connections', async () => {
      await using crowded = await RedisServer.start('--maxclients', '1')
      await crowded.command('PING')
      expect(await refusal(crowded.url)).toMatchObject({
        message: expect.stringContaining('takes no more connections') as string,
        retryable: true,
      })
    })

    test('when it removes runs for want of memory', async () => {
      await using evicting = await RedisServer.start('--maxmemory-policy', 'allkeys-lru')
      expect(await refusal(evicting.url)).toMatchObject({
        message: expect.stringContaining('maxmemory-policy allkeys-lru') as string,
        retryable: false,
      })
    })

    test('when it is a part of a cluster', async () => {
      await using cluster = await RedisServer.start('--cluster-enabled', 'yes')
      expect(await refusal(cluster.url)).toMatchObject({
        message: expect.stringContaining('a part of a cluster') as string,
        retryable: false,
      })
    })

    test('when another server has another secret, and never how that one is', async () => {
      const prefix = server.prefix()
      await using first = await open({ secret: 'a secret of sixteen' }, prefix)
      const stored = String(await server.command('GET', `${prefix}:secret`))
      expect(stored).not.toContain('sixteen')
      for (const secret of ['another secret of it', undefined])
        await expect(open({ secret }, prefix)).rejects.toThrow('with another secret')
      await using second = await open({ secret: 'a secret of sixteen' }, prefix)
      expect(second.idOf('k')).toBe(first.idOf('k'))
    })
  })

  test('makes the same id of a key in all servers, without a secret that somebody has set', async () => {
    const prefix = server.prefix()
    await using first = await open({}, prefix)
    await using second = await open({}, prefix)
    expect(second.idOf('k')).toBe(first.idOf('k'))
    expect(second.idOf('l')).not.toBe(first.idOf('k'))
    await using other = await open()
    expect(other.idOf('k')).not.toBe(first.idOf('k'))
  })

  describe.each([
    ['a secret that somebody has set', { secret: 'a secret of sixteen' }],
    ['one that nobody has set', {}],
  ])('that was wiped, with %s', (_, options) => {
    test('gets it back from the servers that go on: one that begins later makes the same ids', async () => {
      await using alone = await RedisServer.start()
      const [one, two] = [1, 2].map(() => redisStore([alone], 'p', { ...options, lookMs: 5 }))
      await one!.open()
      const id = one!.idOf('k')
      await alone.command('FLUSHALL')
      for (let isThere = false; !isThere; ) isThere = (await alone.command('EXISTS', 'p:secret')) === 1
      await two!.open()
      expect([one!.idOf('k'), two!.idOf('k')]).toEqual([id, id])
      await Promise.all([one!.close(), two!.close()])
    })
  })

  test('that was wiped, and has the secret of a new server since, gives that to those that go on', async () => {
    await using alone = await RedisServer.start()
    const [one, two] = [1, 2].map(() => redisStore([alone], 'p', { lookMs: 5 }))
    await one!.open()
    await alone.command('EVAL', "redis.call('FLUSHALL') redis.call('SET', 'p:secret', 'of a new server')", '0')
    await two!.open()
    const id = two!.idOf('k')
    for (let made = ''; made !== id; made = one!.idOf('k')) await new Promise(setImmediate)
    expect(String(await alone.command('GET', 'p:secret'))).toBe('of a new server')
    await Promise.all([one!.close(), two!.close()])
  })

  describe('of which there are several, without a secret that somebody has set, makes the same id of a key', () => {
    let other: RedisServer
    beforeAll(async () => {
      other = await RedisServer.start()
    })
    afterAll(() => other[Symbol.asyncDispose]())

    /** The id that a server makes of a key, which names the Redis in this order. */
    async function idOfKey(servers: readonly RedisServer[], prefix: string): Promise<string> {
      const store = redisStore(servers, prefix)
      await store.open()
      try {
        return store.idOf('k')
      } finally {
        await store.close()
      }
    }
    const forget = (at: RedisServer, prefix: string): Promise<unknown> => at.command('DEL', `${prefix}:secret`)

    test('whichever of them was wiped', async () => {
      const prefix = server.prefix()
      const id = await idOfKey([server, other], prefix)
      for (const wiped of [server, other]) {
        await forget(wiped, prefix)
        expect(await idOfKey([server, other], prefix)).toBe(id)
        // It has the secret again.
        expect(await idOfKey([wiped], prefix)).toBe(id)
      }
    })

    test('also when a new one is named before it', async () => {
      const prefix = server.prefix()
      const id = await idOfKey([server], prefix)
      expect(await idOfKey([other, server], prefix)).toBe(id)
      expect(await idOfKey([server, other], prefix)).toBe(id)
    })

    test('in servers that begin at the same time and name them in another order', async () => {
      for (let n = 0; n < 2; n++) {
        const prefix = server.prefix()
        const orders = [
          [server, other],
          [other, server],
        ]
        const ids = await Promise.all(orders.map((servers) => idOfKey(servers, prefix)))
        expect(ids[0]).toBe(ids[1])
      }
    })

    test('after one with another secret was refused, which leaves nothing behind', async () => {
      const prefix = server.prefix()
      const id = await idOfKey([server, other], prefix)
      for (const wiped of [server, other]) {
        await forget(wiped, prefix)
        const store = redisStore([server, other], prefix, { secret: 'a secret of sixteen' })
        await expect(store.open()).rejects.toThrow('with another secret')
        expect(await idOfKey([server, other], prefix)).toBe(id)
      }
    })

    test('unless each has another: it then says which', async () => {
      const prefix = server.prefix()
      await idOfKey([server], prefix)
      await idOfKey([other], prefix)
      await expect(idOfKey([server, other], prefix)).rejects.toMatchObject({
        code: 'store_unavailable',
        message: expect.stringContaining('with another secret') as string,
      })
    })
  })

  test('that is away leaves those runs to workers, and to other servers, that are in another one', async () => {
    await using away = await RedisServer.start()
    const store = redisStore([server, away], server.prefix(), { leaseMs: LEASE_MS })
    await store.open()
    try {
      const ids = Array.from({ length: 20 }, (_, n) => `r${n}`)
      for (const id of ids) await store.pools.begin(id, newRun(), { pool: 'gpu', waitMs: 1, maxWaiting: 100 })
      expect((await store.pools.waiting('gpu', 100)).toSorted()).toEqual(ids.toSorted())
      await away.kill()
      const left = await store.pools.waiting('gpu', 100)
      expect(left.length).toBeGreaterThan(0)
      expect(left.length).toBeLessThan(20)
      // They have all waited too long.
      expect((await store.abandoned(100)).toSorted()).toEqual(left.toSorted())
      for (const id of left) expect(await store.takeOver(id, { worker: 'gpu' })).toHaveProperty('run.id', id)
      // Nobody takes this for an empty pool.
      await expect(store.pools.waiting('gpu', 100)).rejects.toMatchObject({ code: 'store_unavailable' })
      await expect(store.abandoned(100)).rejects.toMatchObject({ code: 'store_unavailable' })
    } finally {
      await store.close()
    }
  })

  test('that is away leaves those notices to be sent that are in another one', async () => {
    await using away = await RedisServer.start()
    const store = redisStore([server, away], server.prefix(), { leaseMs: LEASE_MS })
    await store.open()
    const { outbox } = store
    try {
      const ids = Array.from({ length: 20 }, (_, n) => `n${n}`)
      await outbox.add(ids.map((id) => ({ id, body: new Uint8Array([1]) })))
      expect(await outbox.trim(100)).toEqual({ removed: 0, left: 20 })
      await away.kill()
      const { left } = await outbox.trim(100)
      expect(left).toBeGreaterThan(0)
      expect(left).toBeLessThan(20)
      const taken = await outbox.take(20, 60_000)
      expect(taken).toHaveLength(left)
      for (const { id } of taken) await outbox.remove(id)
      // Nobody takes this for an empty outbox.
      await expect(outbox.take(20, 60_000)).rejects.toMatchObject({ code: 'store_unavailable' })
    } finally {
      await store.close()
    }
  })

  test('that is away takes no new notice with it: they wait in another one', async () => {
    await using away = await RedisServer.start()
    const store = redisStore([server, away], server.prefix(), { leaseMs: LEASE_MS })
    await store.open()
    const { outbox } = store
    try {
      await away.kill()
      const ids = Array.from({ length: 20 }, (_, n) => `n${n}`)
      await outbox.add(ids.map((id) => ({ id, body: new Uint8Array([1]) })))
      const taken = await outbox.take(20, 60_000)
      expect(taken.map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
      await outbox.putOff('n3', 0)
      expect(await outbox.take(20, 60_000)).toMatchObject([{ id: 'n3', attempt: 2 }])
    } finally {
      await store.close()
    }
  })

  test('has no key of a run that lives for ever, and none of a notice', async () => {
    const prefix = server.prefix()
    await using store = await open({}, prefix)
    const heard = new Heard()
    for (let n = 0; n < 20; n++) {
      const lease = (await store.begin(`r${n}`, newRun())) as Lease
      await lease.append({
        batch: batch(1, 1),
        parked: new Uint8Array(3),
        inputs: [{ mid: 'm', type: 't', packed: new Uint8Array(1) }],
        notices: [{ id: `n${n}`, body: new Uint8Array(1) }],
      })
      await store.attend(`r${n}`, new Uint8Array([1]))
      if (n === 0) lease.shared?.heldBy(heard)
      if (n < 10) continue
      await lease.append({ end: { ...END, seq: 2 } })
    }
    const late = new AbortController()
    const asked = store.ask('r0', new Uint8Array([7]), late.signal)
    await heard.until('asked 7')
    await store.outbox.add([{ id: 'of no append', body: new Uint8Array(1) }])
    const [sent, again] = await store.outbox.take(2, 60_000)
    await store.outbox.remove(sent!.id)
    await store.outbox.putOff(again!.id, 60_000)
    const keys = (await server.command('KEYS', `${prefix}:*`)) as string[]
    expect(keys).toEqual(expect.arrayContaining(['', ':at', ':body', ':tries'].map((end) => `${prefix}:notices${end}`)))
    expect(keys.length).toBeGreaterThan(60)
    const times = await Promise.all(keys.map((key) => server.command('PTTL', key)))
    const immortal = keys.filter((_, i) => Number(times[i]) < 0)
    expect(immortal).toEqual([`${prefix}:secret`])
    late.abort()
    await expect(asked).rejects.toThrow(MillraceError)
  })

  test('drops the oldest items of a log that is too long, and never its last', async () => {
    await using store = await open({ maxRunBytes: 1_000 })
    const lease = (await store.begin('r1', newRun())) as Lease
    const large = (n: number): Batch => ({ ...batch(n, n), bodies: new Uint8Array(300) })
    for (let n = 1; n <= 10; n++) expect(await lease.append({ batch: large(n) })).toBeUndefined()
    const { first, next } = (await store.find('r1'))!
    expect(next).toBe(11)
    expect(first).toBe(9)
    expect((await store.read('r1', 1, 100_000)).batches.map((each) => each.first)).toEqual([9, 10])
    await lease.append({ batch: { ...batch(11, 11), bodies: new Uint8Array(5_000) } })
    expect(await store.find('r1')).toMatchObject({ first: 11, next: 12 })
  })

  test.each([
    [25, 10],
    [40, 2],
  ])('takes at most %i bytes a token, at %i tokens an entry', async (most, tokens) => {
    const prefix = server.prefix()
    await using store = await open({}, prefix)
    const lease = (await store.begin('r1', newRun())) as Lease
    const entries = 1_000
    for (let n = 0; n < entries; n++) {
      // Three numbers for each item, and a text of four letters with its head.
      const of = { index: new Uint8Array(3 * tokens).fill(5), bodies: new Uint8Array(5 * tokens).fill(97) }
      void lease.append({ batch: { ...batch(tokens * n + 1, tokens * (n + 1)), ...of } })
    }
    await lease.append({ end: { ...END, seq: tokens * entries + 1 } })
    const bytes = Number(await server.command('MEMORY', 'USAGE', `${prefix}:{r1}:l`, 'SAMPLES', '0'))
    console.log(`Redis takes ${(bytes / entries / tokens).toFixed(1)} bytes a token at ${tokens} tokens an entry`)
    expect(bytes / entries / tokens).toBeLessThanOrEqual(most)
  })

  test('takes at most 6 KiB a run besides its items and its input, while it goes on and is read elsewhere', async () => {
    const prefix = server.prefix()
    await using store = await open({}, prefix)
    const lease = (await store.begin('r1', newRun())) as Lease
    await lease.append({ batch: batch(1, 1), usage: new Uint8Array(60) })
    await store.attend('r1', new Uint8Array(60))
    const keys = (await server.command('KEYS', `${prefix}:*`)) as string[]
    const sizes = await Promise.all(keys.map((key) => server.command('MEMORY', 'USAGE', key, 'SAMPLES', '0')))
    const bytes = sizes.reduce<number>((sum, size) => sum + Number(size), 0)
    console.log(`Redis takes ${(bytes / 1_024).toFixed(1)} KiB a run besides its items and its input`)
    expect(bytes).toBeLessThanOrEqual(6_144)
  })

  test('that stands still makes calls fail after a second, further ones at once, and none twice', async () => {
    await using store = await open({ leaseMs: 15_000 })
    const lease = (await store.begin('r1', newRun())) as Lease
    server.freeze(true)
    try {
      const begun = performance.now()
      const appended = lease.append({ batch: batch(1, 3) })
      await expect(appended).rejects.toMatchObject({ code: 'store_unavailable', retryable: true })
      const ms = performance.now() - begun
      expect(ms).toBeGreaterThan(REDIS_OPTIONS.deadlineMs - 50)
      expect(ms).toBeLessThan(REDIS_OPTIONS.deadlineMs + 500)
      const again = performance.now()
      for (let n = 0; n < 1_000; n++)
        await expect(store.find('r1')).rejects.toThrow(`has not answered for ${REDIS_OPTIONS.deadlineMs} ms`)
      expect(performance.now() - again).toBeLessThan(REDIS_OPTIONS.deadlineMs)
    } finally {
      server.freeze(false)
    }
    for (;;) {
      const refusal = await lease.append({ batch: batch(1, 3) }).catch((error: unknown) => error)
      if (refusal === undefined) break
      expect(refusal).toBeInstanceOf(MillraceError)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await store.find('r1')).toMatchObject({ next: 4 })
    expect((await store.read('r1', 1, 10_000)).batches).toHaveLength(1)
  })

  test('whose scripts were forgotten is given them again', async () => {
    await using store = await open()
    const lease = (await store.begin('r1', newRun())) as Lease
    await server.command('SCRIPT', 'FLUSH')
    expect(await lease.append({ batch: batch(1, 3) })).toBeUndefined()
    expect(await store.find('r1')).toMatchObject({ next: 4 })
  })

  test('that was wiped fences the holders of what is gone, and takes new runs', async () => {
    await using alone = await RedisServer.start()
    const store = redisStore([alone], 'p', { leaseMs: LEASE_MS })
    await store.open()
    const lease = (await store.begin('r1', newRun())) as Lease
    const heard = new Heard()
    lease.shared?.heldBy(heard)
    await alone.command('FLUSHALL')
    expect(await lease.append({ batch: batch(1, 3) })).toBe('fenced')
    await heard.until('lost')
    expect(await store.find('r1')).toBeUndefined()
    expect(await store.begin('r2', newRun())).toHaveProperty('gen', 1)
    await store.close()
  })

  test('that was wiped has a run under its key again, which is not that of its holder before', async () => {
    await using alone = await RedisServer.start()
    const [one, two] = [redisStore([alone], 'p'), redisStore([alone], 'p')]
    await Promise.all([one.open(), two.open()])
    const run = newRun({ name: 'k1', input: 'none' })
    const before = (await one.begin('r1', run)) as Lease
    await alone.command('FLUSHALL')
    const now = (await two.begin('r1', run)) as Lease
    expect(await before.append({ batch: batch(1, 3) })).toBe('fenced')
    await before.release()
    expect(await now.append({ batch: batch(1, 2) })).toBeUndefined()
    await Promise.all([one.close(), two.close()])
  })

  test('that comes back without the last items of a run takes no end, state or input behind them', async () => {
    const prefix = server.prefix()
    await using store = await open({}, prefix)
    const lease = (await store.begin('r1', newRun())) as Lease
    await lease.append({ batch: batch(1, 3) })
    const meta = `${prefix}:{r1}:m`
    await lease.append({ batch: batch(4, 6) })
    await server.command('HSET', meta, 's', '3', 'an', '1')
    const before = await store.find('r1')
    expect(await lease.append({ parked: new Uint8Array(1) })).toBe('gap')
    expect(await lease.append({ inputs: [{ mid: 'm1', type: 'approve', packed: new Uint8Array(1) }] })).toBe('gap')
    expect(await lease.append({ end: { seq: 7, outcome: 'done', packed: new Uint8Array(1) } })).toBe('gap')
    expect(await store.find('r1')).toEqual(before)
  })

  test('that was killed and comes back has what it had confirmed, where it writes each command', async () => {
    await using durable = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
    const store = redisStore([durable], 'p', { leaseMs: 15_000 })
    await store.open()
    const lease = (await store.begin('r1', newRun())) as Lease
    let confirmed = 0
    for (let kill = 0; kill < 3; kill++) {
      const appends = Array.from({ length: 100 }, async (_, n) => {
        const seq = 100 * kill + n + 1
        await lease.append({ batch: batch(seq, seq) })
        confirmed = Math.max(confirmed, seq)
      })
      for (const each of appends) each.catch(() => {})
      await appends[50]
      await durable.kill()
      await durable.begin()
      // What was not answered is repeated, as the holder of a run does.
      for (let seq = confirmed + 1; seq <= 100 * (kill + 1); seq++)
        for (;;) {
          const refusal = await lease.append({ batch: batch(seq, seq) }).catch(() => 'again')
          if (refusal === undefined) break
          if (refusal !== 'again') throw new Error(refusal)
          await new Promise((resolve) => setImmediate(resolve))
        }
      confirmed = 100 * (kill + 1)
    }
    const { batches } = await store.read('r1', 1, 1_000_000)
    expect(batches.map(({ first }) => first)).toEqual(Array.from({ length: 300 }, (_, n) => n + 1))
    await store.close()
  })

  describe('lets servers', () => {
    test('hear what is appended, gap or not, and each change', async () => {
      const prefix = server.prefix()
      await using holder = await open({}, prefix)
      await using other = await open({}, prefix)
      const lease = (await holder.begin('r1', newRun())) as Lease
      const heard: (Batch | undefined)[] = []
      let wake = (): void => {}
      const stop = await other.follow('r1', (each) => {
        heard.push(each)
        wake()
      })
      const until = async (holds: () => boolean): Promise<void> => {
        while (!holds()) await new Promise<void>((resolve) => (wake = resolve))
      }
      await lease.append({ batch: batch(1, 3) })
      await lease.append({ batch: batch(4, 6), end: { ...END, seq: 7 } })
      await until(() => heard.filter((each) => each).length === 2)
      expect(heard.filter((each) => each)).toEqual([batch(1, 3), batch(4, 6)])
      await until(() => heard.includes(undefined))
      stop()
    })

    test('find a run that waits in a pool, and those of each other, however many go on', async () => {
      const prefix = server.prefix()
      await using one = await open({}, prefix)
      await using other = await open({}, prefix)
      const held = async (store: RedisStore, name: string): Promise<void> => {
        for (let n = 0; n < 5; n++) await store.begin(`${name}-${n}`, newRun())
      }
      await held(one, 'mine')
      await one.pools.begin('waits', newRun(), { pool: 'gpu', waitMs: 60_000, maxWaiting: 10 })
      await held(other, 'other')
      const [first, ...rest] = await one.live(4)
      expect(first).toMatchObject({ id: 'waits', holder: undefined, waitsForWorker: true })
      expect(rest.map(({ id, isHere }) => [id.split('-')[0], isHere])).toEqual(Array(3).fill(['other', false]))
      const all = (await one.live(100)).map(({ id, waitsForWorker }) => `${id} ${waitsForWorker === true}`)
      const ids = ['mine', 'other'].flatMap((name) => Array.from({ length: 5 }, (_, n) => `${name}-${n} false`))
      expect(all.toSorted()).toEqual([...ids, 'waits true'])
    })

    test('ask the holder, which hears each ask once, and get its answer', async () => {
      const prefix = server.prefix()
      await using holder = await open({}, prefix)
      await using other = await open({}, prefix)
      const lease = (await holder.begin('r1', newRun())) as Lease
      const heard = new Heard()
      lease.shared!.heldBy(heard)
      const { signal } = new AbortController()
      const asked = [1, 2].map((n) => other.ask('r1', new Uint8Array([n]), signal))
      await heard.until('asked 1')
      await heard.until('asked 2')
      await lease.shared!.answer(heard.numberOf(2), new Uint8Array([20]))
      expect(await asked[1]).toEqual(new Uint8Array([20]))
      await lease.append({ end: { ...END, seq: 1 } })
      expect(await asked[0]).toBe('ended')
      expect(await other.ask('r2', new Uint8Array(1), signal)).toBe('missing')
      expect(heard.words.filter((word) => word.startsWith('asked'))).toHaveLength(2)
    })

    test('leave an ask to the next holder, when the first is gone', async () => {
      const prefix = server.prefix()
      const holder = await open({}, prefix)
      await using other = await open({}, prefix)
      const lease = (await holder.begin('r1', newRun())) as Lease
      await lease.release()
      const asked = other.ask('r1', new Uint8Array([5]), new AbortController().signal)
      await using next = await open({}, prefix)
      const taken = await next.takeOver('r1')
      if (typeof taken === 'string') throw new Error(taken)
      const heard = new Heard()
      taken.lease.shared!.heldBy(heard)
      await heard.until('asked 5')
      await taken.lease.shared!.answer(heard.numberOf(5), new Uint8Array([50]))
      expect(await asked).toEqual(new Uint8Array([50]))
      await holder.close()
    })

    test('not ask without end of a holder that does not answer', async () => {
      await using store = await open()
      await store.begin('r1', newRun())
      const late = new AbortController()
      setMaxListeners(0, late.signal)
      const asked = Array.from({ length: 300 }, () => store.ask('r1', new Uint8Array(1), late.signal))
      const said = await Promise.all(
        asked.map((each) => Promise.race([each, new Promise((r) => setTimeout(r, 1_500))])),
      )
      expect(said.filter((each) => each === 'busy')).toHaveLength(300 - 256)
      late.abort()
      await Promise.allSettled(asked)
    })

    test('ask on and on, however many of them stopped waiting: no ask is kept that nobody waits for', async () => {
      const prefix = server.prefix()
      await using holder = await open({}, prefix)
      await using other = await open({}, prefix)
      const lease = (await holder.begin('r1', newRun())) as Lease
      let heard = 0
      const answer = ({ n }: { n: number }): void => {
        heard++
        void lease.shared!.answer(n, new Uint8Array([heard % 256]))
      }
      lease.shared!.heldBy(Object.assign(new Heard(), { asked: answer }))
      for (let n = 1; n <= 400; n++) {
        const gone = new AbortController()
        const asked = other.ask('r1', new Uint8Array(1), gone.signal)
        gone.abort()
        // Its answer may have come before.
        await asked.catch((error: unknown) => expect(error).toMatchObject({ code: 'store_unavailable' }))
      }
      expect(await other.ask('r1', new Uint8Array(1), new AbortController().signal)).toEqual(
        new Uint8Array([401 % 256]),
      )
      expect(heard).toBe(401)
      while (Number(await server.command('EXISTS', `${prefix}:{r1}:v`)) > 0);
    })

    test('forget an answer that nobody fetches, because who asked has died, where its room is needed', async () => {
      const prefix = server.prefix()
      await using store = await open({}, prefix)
      await store.begin('r1', newRun())
      const old = Array.from({ length: 256 }, (_, n) => [`dead/${n}`, '1700000000000=answer'])
      await server.command('HSET', `${prefix}:{r1}:v`, ...old.flat())
      const late = new AbortController()
      const asked = store.ask('r1', new Uint8Array(1), late.signal)
      await expect(Promise.race([asked, new Promise((resolve) => setTimeout(resolve, 300, 'open'))])).resolves.toBe(
        'open',
      )
      late.abort()
      await expect(asked).rejects.toThrow(MillraceError)
    })

    test('stop a run of which too much else is asked', async () => {
      await using store = await open()
      const lease = (await store.begin('r1', newRun())) as Lease
      const late = new AbortController()
      setMaxListeners(0, late.signal)
      const asked = Array.from({ length: 256 }, () => store.ask('r1', new Uint8Array(1), late.signal))
      expect(await store.ask('r1', new Uint8Array(1), late.signal)).toBe('busy')
      const stops = Array.from({ length: 65 }, () => store.ask('r1', new Uint8Array([9]), late.signal, true))
      expect(await stops[64]).toBe('busy')
      const heard = new Heard()
      lease.shared!.heldBy(heard)
      await heard.until('asked 9')
      await lease.shared!.answer(heard.numberOf(9), new Uint8Array([90]))
      expect(await stops[0]).toEqual(new Uint8Array([90]))
      late.abort()
      await Promise.allSettled([...asked, ...stops])
    })

    test('ask again what a Redis that came back with older data does not know', async () => {
      const prefix = server.prefix()
      await using holder = await open({}, prefix)
      await using other = await open({}, prefix)
      const lease = (await holder.begin('r1', newRun())) as Lease
      const heard = new Heard()
      const asked = other.ask('r1', new Uint8Array([5]), new AbortController().signal)
      while ((await server.command('DEL', `${prefix}:{r1}:q`, `${prefix}:{r1}:v`)) !== 2);
      lease.shared!.heldBy(heard)
      await heard.until('asked 5')
      await lease.shared!.answer(heard.numberOf(5), new Uint8Array([50]))
      expect(await asked).toEqual(new Uint8Array([50]))
    })

    test('are heard again after a failover that lost what the holder had heard of them', async () => {
      const prefix = server.prefix()
      await using holder = await open({}, prefix)
      await using other = await open({}, prefix)
      const lease = (await holder.begin('r1', newRun())) as Lease
      const heard = new Heard()
      lease.shared!.heldBy(heard)
      const ask = (n: number) => other.ask('r1', new Uint8Array([n]), new AbortController().signal)
      const before = ask(1)
      await heard.until('asked 1')
      await lease.shared!.answer(heard.numberOf(1), new Uint8Array([10]))
      await before
      await server.command('HSET', `${prefix}:{r1}:m`, 'qn', '0')
      const asked = ask(2)
      await heard.until('asked 2')
      await lease.shared!.answer(heard.numberOf(2), new Uint8Array([20]))
      expect(await asked).toEqual(new Uint8Array([20]))
    })

    test('begin a run once, with its whole lease, if the answer is lost and they begin it again', async () => {
      await using alone = await RedisServer.start()
      const [first, other] = [redisStore([alone], 'p', { leaseMs: 60_000 }), redisStore([alone], 'p')]
      await first.open()
      await other.open()
      alone.freeze(true)
      await expect(first.begin('r1', newRun())).rejects.toMatchObject({ code: 'store_unavailable' })
      alone.freeze(false)
      while (!(await untilAnswered(() => other.find('r1'))));
      // The lease is over, and nobody has found that out.
      await alone.command('HSET', 'p:{r1}:m', 'x', '1')
      const lease = (await untilAnswered(() => first.begin('r1', newRun()))) as Lease
      expect(await other.takeOver('r1')).toBe('busy')
      expect(await lease.append({ batch: batch(1, 3) })).toBeUndefined()
      await Promise.all([first.close(), other.close()])
    })

    test('take a run over once, if the answer is lost and they ask again', async () => {
      await using alone = await RedisServer.start()
      const [holder, next] = [redisStore([alone], 'p'), redisStore([alone], 'p', { leaseMs: 60_000 })]
      await holder.open()
      await next.open()
      const lease = (await holder.begin('r1', newRun())) as Lease
      await lease.append({ batch: batch(1, 3) })
      await lease.release()
      alone.freeze(true)
      await expect(next.takeOver('r1')).rejects.toMatchObject({ code: 'store_unavailable' })
      alone.freeze(false)
      while ((await untilAnswered(() => holder.find('r1')))?.lives.length !== 2);
      // Nobody has kept the lease meanwhile: they have the whole of it again.
      const left = Date.now() + 30_000
      await alone.command('HSET', 'p:{r1}:m', 'x', `${left}`)
      const taken = await untilAnswered(() => next.takeOver('r1'))
      if (typeof taken === 'string') throw new Error(taken)
      expect(Number(await alone.command('HGET', 'p:{r1}:m', 'x'))).toBeGreaterThan(left + 1_000)
      expect(taken.run.lives).toEqual([
        { gen: 1, first: 1 },
        { gen: taken.lease.gen, first: 4 },
      ])
      expect(await taken.lease.append({ batch: batch(4, 6, taken.lease.gen) })).toBeUndefined()
      expect(await holder.takeOver('r1')).toBe('busy')
      await Promise.all([holder.close(), next.close()])
    })

    test('take a run over in the life that they are given, if Redis has forgotten the script for it', async () => {
      const prefix = server.prefix()
      const holder = await open({}, prefix)
      await using next = await open({}, prefix)
      await ((await holder.begin('r1', newRun())) as Lease).release()
      await server.command('SCRIPT', 'FLUSH')
      // It knows the others again.
      await next.find('r1')
      const taken = await next.takeOver('r1')
      if (typeof taken === 'string') throw new Error(taken)
      expect(taken.lease.gen).toBeGreaterThan(1)
      expect(taken.run.gen).toBe(taken.lease.gen)
      expect(await taken.lease.append({ batch: batch(1, 3, taken.lease.gen) })).toBeUndefined()
      await holder.close()
    })

    test('tell the holder who reads, until they stop to, or die', async () => {
      const prefix = server.prefix()
      await using holder = await open({}, prefix)
      await using other = await open({}, prefix)
      const lease = (await holder.begin('r1', newRun())) as Lease
      const heard = new Heard()
      lease.shared!.heldBy(heard)
      await other.attend('r1', new Uint8Array([1]))
      await heard.until('attended by 1')
      await other.attend('r1', undefined)
      await heard.until('attended by 0')
      heard.words.length = 0
      await other.attend('r1', new Uint8Array([2]))
      await heard.until('attended by 1')
      await heard.until('attended by 0')
    })

    test('find the runs of one that died when its leases are over, and fence it when it comes back', async () => {
      const prefix = server.prefix()
      await using dead = await open({}, prefix)
      await using other = await open({}, prefix)
      const lease = (await dead.begin('r1', newRun())) as Lease
      expect(await other.abandoned(10)).toEqual([])
      const heard = new Heard()
      lease.shared!.heldBy(heard)
      dead.crash()
      expect(await other.takeOver('r1')).toBe('busy')
      const begun = performance.now()
      while ((await other.abandoned(10)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
      expect(performance.now() - begun).toBeLessThan(LEASE_MS + 1_000)
      expect(await other.takeOver('r1')).toHaveProperty('run.id', 'r1')
      expect(await other.abandoned(10)).toEqual([])
    })
  })

  test('is let go of with all that was opened', async () => {
    const before = process.getActiveResourcesInfo().filter((name) => name.startsWith('TCP')).length
    const store = await open()
    const lease = (await store.begin('r1', newRun())) as Lease
    void lease.append({ batch: batch(1, 1) }).catch(() => {})
    await store.follow('r1', () => {})
    await store.close()
    await expect(store.find('r1')).rejects.toThrow('is not open')
    while (process.getActiveResourcesInfo().filter((name) => name.startsWith('TCP')).length > before)
      await new Promise((resolve) => setImmediate(resolve))
  })
})

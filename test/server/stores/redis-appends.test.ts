import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Appends } from '../../../server/stores/redis/appends.ts'
import type { RedisStore } from '../../../server/stores/redis/redis-store.ts'
import type { Batch, Lease, NewRun } from '../../../server/stores/run-store.ts'
import { redisStore } from '../../helpers/redis-harness.ts'
import { HAS_REDIS, RedisServer } from '../../helpers/redis-server.ts'

const RUN: NewRun = { facts: { actor: 'count', principal: 'alice', startedAt: 1_000, packed: new Uint8Array(20) } }

function batch(first: number, last: number): Batch {
  return { gen: 1, first, last, at: 1_700_000_000_000, index: new Uint8Array(3), bodies: new Uint8Array([first % 256]) }
}

describe('appends of one moment', () => {
  /** The arguments of each call, and appends that are answered with their own number. */
  function counted() {
    const calls: string[][] = []
    const appends = new Appends(async (keys, args) => {
      calls.push(args.map(String))
      return keys.map((key) => key)
    })
    return { calls, appends }
  }

  test('travel in one call, which says of each how many arguments it has; later ones in the next', async () => {
    const { calls, appends } = counted()
    const all = [appends.add(['a'], ['1', '2']), appends.add(['b'], ['3'])]
    expect(await Promise.all(all)).toEqual(['a', 'b'])
    expect(await appends.add(['c'], [])).toBe('c')
    expect(calls).toEqual([['2', '1', '2', '1', '3'], ['0']])
  })

  test('are sent at once where something else is to come behind them, and when there are many', async () => {
    const { calls, appends } = counted()
    const first = appends.add(['a'], ['1'])
    appends.send()
    expect(calls).toHaveLength(1)
    const many = Array.from({ length: 65 }, (_, n) => appends.add([`${n}`], []))
    expect(calls).toHaveLength(2)
    expect(await Promise.all([first, ...many])).toEqual(['a', ...many.map((_, n) => `${n}`)])
    expect(calls).toHaveLength(3)
  })
})

describe.skipIf(!HAS_REDIS)('appends of several runs in one Redis, at one moment,', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await RedisServer.start()
  })
  afterAll(() => server[Symbol.asyncDispose]())

  async function opened(prefix: string): Promise<RedisStore & AsyncDisposable> {
    const store = redisStore([server], prefix)
    await store.open()
    return Object.assign(store, { [Symbol.asyncDispose]: () => store.close() })
  }
  const leaseOf = async (store: RedisStore, id: string): Promise<Lease> => (await store.begin(id, RUN)) as Lease

  test('are all stored, each in its own run', async () => {
    await using store = await opened(server.prefix())
    const ids = Array.from({ length: 130 }, (_, n) => `r${n}`)
    const leases = await Promise.all(ids.map((id) => leaseOf(store, id)))
    const said = await Promise.all(leases.map((lease, n) => lease.append({ batch: batch(1, 1 + n) })))
    expect(new Set(said)).toEqual(new Set([undefined]))
    for (const [n, id] of ids.entries()) expect((await store.find(id))?.next).toBe(2 + n)
  })

  test('come before what is asked of Redis after them', async () => {
    await using store = await opened(server.prefix())
    const lease = await leaseOf(store, 'r1')
    const [said] = await Promise.all([lease.append({ batch: batch(1, 3) }), store.remove('r1')])
    expect(said).toBeUndefined()
    expect(await lease.append({ batch: batch(4, 6) })).toBe('fenced')
  })

  test('are stored also when one of them cannot be, which alone fails', async () => {
    const prefix = server.prefix()
    await using store = await opened(prefix)
    const leases = await Promise.all(['r1', 'r2', 'r3'].map((id) => leaseOf(store, id)))
    await server.command('SET', `${prefix}:{r2}:l`, 'no log')
    const said = await Promise.allSettled(leases.map((lease) => lease.append({ batch: batch(1, 3) })))
    expect(said.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect((await store.find('r1'))?.next).toBe(4)
    expect((await store.find('r2'))?.next).toBe(1)
    expect((await store.find('r3'))?.next).toBe(4)
  })
})

import { MillraceError } from '../../protocol/errors.ts'
import { nodeRuntime } from '../../server/runtime.ts'
import { RedisStore, type RedisStoreOptions } from '../../server/stores/redis/redis-store.ts'
import type { Append, Lease, RunStore } from '../../server/stores/run-store.ts'
import type { StoreHarness } from '../server/stores/run-store-suite.ts'
import type { RedisServer } from './redis-server.ts'

/** Long enough for a machine that has other things to do, short enough to wait for. */
const LEASE_MS = 1_500

/** What a store in Redis is made with, unless a test says otherwise. */
export const REDIS_OPTIONS: Omit<RedisStoreOptions, 'urls' | 'prefix'> = {
  secret: undefined,
  leaseMs: LEASE_MS,
  liveMs: 600_000,
  keepMs: 60_000,
  maxRunBytes: 2 ** 30,
  deadlineMs: 1_000,
  lookMs: 500,
  isDeaf: false,
}

/** A store in `servers`, of one process. */
export function redisStore(
  servers: readonly Pick<RedisServer, 'url'>[],
  prefix: string,
  options: Partial<RedisStoreOptions> = {},
): RedisStore {
  return new RedisStore({ ...REDIS_OPTIONS, urls: servers.map(({ url }) => url), prefix, ...options }, nodeRuntime)
}

/** A part of the keys of Redis, for the suite of all stores. */
export async function redisHarness(
  servers: readonly RedisServer[],
  options: Partial<RedisStoreOptions> = {},
  wrap: (store: RedisStore) => RunStore = (store) => store,
): Promise<StoreHarness> {
  const prefix = servers[0]!.prefix()
  const make = async (): Promise<RedisStore> => {
    const made = redisStore(servers, prefix, options)
    await stubbornly(() => made.open())
    return made
  }
  let store = await make()
  const begun = async (): Promise<RunStore> => {
    store = await make()
    return wrap(store)
  }
  return {
    store: wrap(store),
    async restart() {
      await store.close()
      return begun()
    },
    async kill() {
      store.crash()
      await new Promise((resolve) => setTimeout(resolve, options.leaseMs ?? LEASE_MS))
      return begun()
    },
    full: (is) => Promise.all(servers.map((server) => server.full(is))).then(() => {}),
    async [Symbol.asyncDispose]() {
      await store.close()
    },
  }
}

/** Repeats what Redis was too slow for, as the holder of a run does. */
export class StubbornStore implements RunStore {
  readonly #inner: RedisStore

  constructor(inner: RedisStore) {
    this.#inner = inner
  }

  get caps(): RunStore['caps'] {
    return this.#inner.caps
  }
  get shared(): RunStore['shared'] {
    return this.#inner.shared
  }
  get outbox(): RunStore['outbox'] {
    return this.#inner.outbox
  }
  open: RunStore['open'] = () => stubbornly(() => this.#inner.open())
  close: RunStore['close'] = () => this.#inner.close()
  begin: RunStore['begin'] = async (...args) => {
    const begun = await stubbornly(() => this.#inner.begin(...args))
    return 'run' in begun ? begun : stubbornLease(begun)
  }
  takeOver: RunStore['takeOver'] = async (id) => {
    const taken = await stubbornly(() => this.#inner.takeOver(id))
    return typeof taken === 'string' ? taken : { ...taken, lease: stubbornLease(taken.lease) }
  }
  abandoned: RunStore['abandoned'] = (most) => stubbornly(() => this.#inner.abandoned(most))
  find: RunStore['find'] = (id) => stubbornly(() => this.#inner.find(id))
  findKey: RunStore['findKey'] = (name) => stubbornly(() => this.#inner.findKey(name))
  list: RunStore['list'] = (...args) => stubbornly(() => this.#inner.list(...args))
  read: RunStore['read'] = (...args) => stubbornly(() => this.#inner.read(...args))
  remove: RunStore['remove'] = (id) => stubbornly(() => this.#inner.remove(id))
  removeAll: RunStore['removeAll'] = (principal) => stubbornly(() => this.#inner.removeAll(principal))
}

/** Appends one after the other, as a journal does: one that is repeated comes before all others. */
function stubbornLease(lease: Lease): Lease {
  let before: Promise<unknown> = Promise.resolve()
  return {
    gen: lease.gen,
    shared: lease.shared,
    append: (what: Append) => {
      const appended = before.then(() => stubbornly(() => lease.append(what)))
      before = appended.catch(() => {})
      return appended
    },
    release: () => stubbornly(() => lease.release()),
  }
}

async function stubbornly<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      const isLate = MillraceError.is(error, 'store_unavailable') && String(error.cause).includes('DEADLINE')
      if (!isLate) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

import type { Actor, ServerOptions } from '../../server/index.ts'
import type { RedisStore, RedisStoreOptions } from '../../server/stores/redis/redis-store.ts'
import type { StoredRun } from '../../server/stores/run-store.ts'
import { redisStore } from './redis-harness.ts'
import type { RedisServer } from './redis-server.ts'
import { type TestServer, testServer } from './server.ts'

/** A server of a deployment, and its store. */
export type Node<Actors extends Record<string, Actor>> = TestServer<Actors> & {
  readonly store: RedisStore
  /** Stands before its keys. */
  readonly prefix: string
}

/** Makes a server of a deployment. @param own What its store is made with besides. */
export type Deployment = <const Actors extends Record<string, Actor>>(
  actors: Actors,
  more?: Partial<ServerOptions<Actors>>,
  own?: Partial<RedisStoreOptions>,
) => Promise<Node<Actors>>

/** Servers that share what no other test has. */
export function redisDeployment(on: RedisServer, options: Partial<RedisStoreOptions> = {}): Deployment {
  const prefix = on.prefix()
  return async function node<const Actors extends Record<string, Actor>>(
    actors: Actors,
    more: Partial<ServerOptions<Actors>> = {},
    own: Partial<RedisStoreOptions> = {},
  ): Promise<Node<Actors>> {
    const store = redisStore([on], prefix, { lookMs: 300, ...options, ...own })
    return Object.assign(await testServer<Actors>(actors, { store, ...more }), { store, prefix })
  }
}

/** What a store has of a run, once that holds. */
export async function stored(store: RedisStore, run: string, holds: (has: StoredRun) => boolean): Promise<StoredRun> {
  for (;;) {
    const has = await store.find(run)
    if (has && holds(has)) return has
  }
}

/** Resolves when a store has a run as one that waits. */
export function parked(store: RedisStore, run: string): Promise<StoredRun> {
  return stored(store, run, (has) => has.parked !== undefined)
}

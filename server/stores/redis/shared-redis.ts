import type { Argument, Reply } from './client.ts'
import type { Script } from './script.ts'

/** One Redis of a store, in which other parts of the package keep something. */
export interface RedisPlace {
  /** Runs a script. It must be one that can be repeated: its answer may be lost, and it is sent again then. */
  run(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<Reply>
  /**
   * Listens to a channel. `heard` is also called without a message, now and then, and whenever one may have been lost.
   * @returns what ends it.
   */
  listen(channel: string, heard: (message?: Buffer) => void): Promise<() => void>
}

/** What a store in Redis shares with other parts of the package. */
export type SharedRedis = {
  /** Stands before every key and channel. */
  readonly prefix: string
  /** Connects, unless that was done already. */
  open(): Promise<void>
  /** Every Redis of the store. */
  all(): readonly RedisPlace[]
  /** The one that has what is found by this name. */
  of(name: string): RedisPlace
  /** A name that nothing else has. */
  newName(): string
}

const SHARED = new WeakMap<object, SharedRedis>()

/** Lets others find the Redis of a store. */
export function shareRedis(store: object, shared: SharedRedis): void {
  SHARED.set(store, shared)
}

/** The Redis of a store that `redis()` has made. Undefined for any other object. */
export function redisOf(store: object): SharedRedis | undefined {
  return SHARED.get(store)
}

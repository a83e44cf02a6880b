import { RedisRefusal } from './store-error.ts'

/** An argument of a command. */
export type Argument = string | Buffer
/** What a command gives. Bytes come as buffers, states as text. */
export type Reply = Buffer | string | number | null | Reply[]

/** What is used of a client of the package `redis`. */
export interface RedisClient {
  readonly isReady: boolean
  connect(): Promise<unknown>
  destroy(): void
  sendCommand(args: readonly Argument[]): Promise<Reply>
  subscribe(channel: string, listener: (message: Buffer) => void, asBuffers: true): Promise<void>
  unsubscribe(channel: string): Promise<void>
  on(event: 'ready' | 'error', listener: (error?: unknown) => void): unknown
}

/** The package `redis`. */
export interface RedisModule {
  createClient(options: object): RedisClient
  readonly ErrorReply: new (...args: never[]) => Error
  readonly RESP_TYPES: { readonly BLOB_STRING: number }
}

/** The version of its protocol. */
const RESP = 2
/** The time limit for a connection, in milliseconds. */
const CONNECT_MS = 2_000
/** How often a connection that is idle is tried, and the silence after which it is given up, in milliseconds. */
const PING_MS = 2_000
const SILENCE_MS = 5_000
/** How long after a loss the next connection is made, in milliseconds: at first, and at most. */
const RECONNECT_MS = 25
const MAX_RECONNECT_MS = 1_000

/** @throws RedisRefusal when the package cannot be loaded. */
export async function loadRedis(): Promise<RedisModule> {
  try {
    const { ErrorReply, RedisClient, RESP_TYPES } = await import('redis')
    // The package's own `createClient` makes a class with every command of Redis and its modules for each client.
    return { createClient: RedisClient.factory({ RESP }), ErrorReply, RESP_TYPES }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ERR_MODULE_NOT_FOUND') throw new RedisRefusal('MODULE_MISSING', 'the package redis is missing')
    throw new RedisRefusal('MODULE_BROKEN', message)
  }
}

/**
 * A client of the Redis at `url`. It connects again by itself, and keeps no command while it is not connected: who sends
 * one decides what becomes of it.
 */
export function makeClient(module: RedisModule, url: string, name: string, random: () => number): RedisClient {
  return module.createClient({
    url,
    name,
    RESP,
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
    pingInterval: PING_MS,
    commandOptions: { typeMapping: { [module.RESP_TYPES.BLOB_STRING]: Buffer } },
    socket: {
      connectTimeout: CONNECT_MS,
      socketTimeout: SILENCE_MS,
      reconnectStrategy: (retries: number) =>
        Math.min(MAX_RECONNECT_MS, RECONNECT_MS * 2 ** Math.min(retries, 10)) * (0.5 + random() / 2),
    },
  })
}

/** The host and port of a URL, without its password. */
export function placeOf(url: string): string {
  const { host, pathname } = new URL(url)
  return `${host}${pathname === '/' ? '' : pathname}`
}

import { WebSocket } from 'ws'
import type { ActorMap } from '../protocol/actors.ts'
import { pooledRandomBytes } from '../protocol/random-pool.ts'
import type { ClientRuntime } from '../protocol/runtime.ts'
import { type Client, type ClientOptions, createClient as createClientWith } from './client.ts'
import { systemRuntime } from './runtime.ts'

export * from './index.ts'

/**
 * Time for the server to answer a close, in milliseconds. `ws` itself waits 30 s and keeps the process alive meanwhile.
 */
const CLOSE_MS = 2_000

/** The class of `ws`, as the client uses it. For the command line. @internal */
export class NodeWebSocket extends WebSocket {
  override close(code?: number): void {
    super.close(code)
    setTimeout(() => this.terminate(), CLOSE_MS).unref()
  }
}

/** Each start takes a random key. */
const nodeRuntime: ClientRuntime = { ...systemRuntime, randomBytes: pooledRandomBytes }

/** A message is read at once, and nothing of it is kept: it needs no copy, and no event object around it. */
Object.defineProperties(NodeWebSocket.prototype, {
  binaryType: { get: () => 'nodebuffer', set() {} },
  onmessage: {
    set(this: WebSocket, handle: (message: { data: unknown }) => void) {
      this.on('message', (data, isBinary) => handle({ data: isBinary ? data : '' }))
    },
  },
})

/**
 * Makes a client. It connects when it is first needed, and again after a loss. Its WebSocket class is that of `ws`,
 * because Node 20 has none of its own.
 *
 * @typeParam Actors `typeof actors` of the server.
 * @param url The server's address: `ws:` or `wss:`.
 */
export function createClient<Actors extends ActorMap = ActorMap>(
  url: string | URL,
  options: ClientOptions = {},
): Client<Actors> {
  const { WebSocket, runtime } = options
  return createClientWith(url, {
    ...options,
    WebSocket: WebSocket ?? NodeWebSocket,
    runtime: runtime ?? nodeRuntime,
  })
}

import { WebSocket } from 'ws'
import type { ActorMap } from '../protocol/actors.ts'
import { type Client, type ClientOptions, createClient as createClientWith } from './client.ts'

export * from './index.ts'

/** How long a server may take to answer a close. By itself `ws` waits 30 seconds, and the process with it. */
const CLOSE_MS = 2_000

class NodeWebSocket extends WebSocket {
  override close(code?: number): void {
    super.close(code)
    setTimeout(() => this.terminate(), CLOSE_MS).unref()
  }
}

/** As in a browser, with the WebSocket class of `ws`: Node 20 has none of its own. */
export function createClient<Actors extends ActorMap = ActorMap>(
  url: string | URL,
  options: ClientOptions = {},
): Client<Actors> {
  return createClientWith(url, { WebSocket: NodeWebSocket, ...options })
}

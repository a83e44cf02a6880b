import { WebSocket } from 'ws'
import type { ActorMap } from '../protocol/actors.ts'
import { type Client, type ClientOptions, createClient as createClientWith } from './client.ts'

export * from './index.ts'

/** As in a browser, with the WebSocket class of `ws`: Node 20 has none of its own. */
export function createClient<Actors extends ActorMap = ActorMap>(
  url: string | URL,
  options: ClientOptions = {},
): Client<Actors> {
  return createClientWith(url, { WebSocket, ...options })
}

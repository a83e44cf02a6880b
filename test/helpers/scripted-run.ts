import type { ClientOptions, StreamEvent } from '../../client-sdk/index.ts'
import { opened, ScriptedServer, type ScriptedSocket } from './scripted-server.ts'

/** A client whose one run is open as stream 1. */
export async function openRun(options: { credit?: number; rate?: number } = {}, clientOptions: ClientOptions = {}) {
  const server = new ScriptedServer()
  const client = server.client(clientOptions)
  const run = client.start('chat', { prompt: 'hi' }, options)
  server.socket.welcome()
  server.socket.say(opened(1, { credit: options.credit ?? 256 }))
  await server.settle()
  server.socket.said()
  return { server, client, run, socket: server.socket }
}

/** Reads `count` items. */
export async function take(iterator: AsyncIterator<StreamEvent>, count: number): Promise<StreamEvent[]> {
  const events: StreamEvent[] = []
  while (events.length < count) {
    const next = await iterator.next()
    if (next.done) throw new Error(`ended after ${events.length} items`)
    events.push(next.value)
  }
  return events
}

export const shortly = (events: StreamEvent[]): string[] =>
  events.map((each) => {
    if (each.type === 'token') return `${each.seq} ${each.text}`
    if (each.type === 'gap') return `${each.reason} ${each.from}..${each.next - 1}`
    return `${each.seq} ${each.type}`
  })

/** Cuts the connection and lets the client come back. */
export async function cut(server: ScriptedServer): Promise<ScriptedSocket> {
  server.socket.end()
  return server.reconnected()
}

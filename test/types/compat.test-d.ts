import { createClient } from '../../client-sdk/index.ts'
import { type AskEvent, streamAsk, streamingService, toChunks } from '../../compat/index.ts'
import { actor, anonymous, createServer } from '../../server/index.ts'

const actors = {
  count: actor({
    async *stream() {
      yield 'one'
      return 1
    },
  }),
}
const server = createServer({ actors, authenticate: anonymous() })
const client = createClient<typeof actors>('ws://127.0.0.1')

// The router of a server and a client of any actors are targets.
void streamAsk(server.router, 'count', 'stream', null)
void streamAsk(client, 'count', 'ask', null)
streamingService(server.router)
streamingService(client)
// @ts-expect-error: a server has its router for that
void streamAsk(server, 'count', 'stream', null)
// @ts-expect-error: there is no such type of question
void streamAsk(client, 'count', 'tell', null)

// A run, a stream of the router and texts are sources of chunks.
toChunks(client.start('count', null))
toChunks(server.router.stream('count', null))
toChunks(client.start('count', null).text())

export function take(event: AskEvent): string {
  switch (event.type) {
    case 'done':
      return `${event.content} ${event.inputTokens + event.outputTokens} ${event.timestamp}`
    case 'error':
      return event.error.message
    case 'token':
      return event.text
    default:
      return String(event.timestamp)
  }
}

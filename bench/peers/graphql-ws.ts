import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { GraphQLNonNull, GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql'
import { createClient } from 'graphql-ws'
import { useServer } from 'graphql-ws/use/ws'
import { WebSocket, WebSocketServer } from 'ws'
import { type TokenRequest, tokens } from '../processes/token-source.ts'
import type { Peer } from './peer.ts'

const schema = new GraphQLSchema({
  query: new GraphQLObjectType({ name: 'Query', fields: { version: { type: GraphQLString } } }),
  subscription: new GraphQLObjectType({
    name: 'Subscription',
    fields: {
      token: {
        type: GraphQLString,
        args: { request: { type: new GraphQLNonNull(GraphQLString) } },
        subscribe: (_root, { request }: { request: string }) => subscribed(JSON.parse(request) as TokenRequest),
      },
    },
  }),
})

/** A resolver as its documentation has it: a generator, which is ended when the client completes. It is given no signal. */
async function* subscribed(request: TokenRequest): AsyncGenerator<{ token: string }, undefined> {
  for await (const token of tokens(request, new AbortController().signal)) yield { token }
}

const QUERY = 'subscription ($request: String!) { token(request: $request) }'

export const graphqlWs: Peer = {
  async serve() {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
    useServer({ schema }, server)
    await once(server, 'listening')
    return { port: (server.address() as AddressInfo).port }
  },

  async connect(port) {
    const client = createClient({
      url: `ws://127.0.0.1:${port}`,
      webSocketImpl: WebSocket,
      lazy: false,
      retryAttempts: 0,
    })
    await new Promise<void>((resolve) => client.on('connected', () => resolve()))
    return {
      read: (request) => texts(client.iterate({ query: QUERY, variables: { request: JSON.stringify(request) } })),
      close: async () => client.dispose(),
    }
  },
}

/** To leave it leaves the subscription, whatever that waits for. */
function texts(
  results: AsyncIterableIterator<{ data?: Record<string, unknown> | null | undefined }>,
): AsyncIterable<string> {
  return {
    [Symbol.asyncIterator]: () => ({
      async next() {
        const result = await results.next()
        return result.done
          ? { value: undefined, done: true }
          : { value: String(result.value.data?.['token']), done: false }
      },
      async return() {
        await results.return?.()
        return { value: undefined, done: true }
      },
    }),
  }
}

import {
  type Authenticate,
  actor,
  agent,
  createServer,
  inspector,
  type Model,
  type ModelEvent,
  type Socket,
  type SocketAcceptor,
  type Transport,
  tool,
  ws,
} from 'millrace/server'
import { uws } from 'millrace/server/uws'
import { stopped, type TokenRequest, tokens } from '../processes/token-source.ts'
import type { PeerServer, ServeOptions, StoreChoice } from './peer.ts'

export async function onWs(options: ServeOptions): Promise<PeerServer> {
  return serve(ws(), options)
}

export async function onUws(options: ServeOptions): Promise<PeerServer> {
  return serve(uws({ module: (await import('uWebSockets.js')).default }), options)
}

const actors = {
  tokens: actor({ stream: (input, { signal }) => tokens(input as TokenRequest, signal) }),
  inspector: inspector(),
}

/** Each connection is a principal of its own, and may watch the runs of others. */
const observers: Authenticate = ({ auth }) => ({ id: String(auth), rights: ['observe'] })

async function serve(
  transport: Transport,
  { limits, providerPort, watched, store }: ServeOptions,
): Promise<PeerServer> {
  const sockets = new Set<Socket>()
  const server = createServer({
    actors: {
      ...actors,
      ...(providerPort !== undefined && (await agents(providerPort))),
    },
    authenticate: observers,
    transport: watched ? watching(transport, sockets) : transport,
    // A benchmark starts more runs a second than anybody may by default. All else is as it comes.
    limits: { startsPerSec: 1_000_000, startBurst: 1_000_000, ...limits },
    ...(store && { store: await opened(store), durability: store.durability }),
  })
  const { port } = await server.listen(0)
  return {
    port,
    bufferedAmount: () => Math.max(0, ...[...sockets].map((socket) => socket.bufferedAmount)),
    cut() {
      for (const socket of [...sockets]) socket.terminate()
    },
  }
}

/** Neither store is loaded by a server that does not have it. */
async function opened(choice: StoreChoice) {
  if ('path' in choice) return (await import('millrace/server/sqlite')).sqlite({ path: choice.path })
  return (await import('millrace/server/redis')).redis({ url: choice.url, prefix: choice.prefix })
}

/** Agents that wait until they are stopped. The prompt is the id of the stream whose stop time is noted. */
async function agents(providerPort: number) {
  const { openai } = await import('millrace/models/openai')
  const wait = tool({
    description: 'Waits until it is stopped',
    run: (input, { signal }) =>
      new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => {
          stopped((input as { id: string }).id)
          reject(new Error('stopped'))
        })
      }),
  })
  return {
    tool: agent({ model: caller, tools: { wait } }),
    model: agent({ model: openai('waits', { baseURL: `http://127.0.0.1:${providerPort}/v1`, apiKey: 'none' }) }),
  }
}

/** A model that says a word and calls its tool. */
const caller: Model = {
  id: 'bench:caller',
  provider: 'bench',
  async *stream({ messages }): AsyncGenerator<ModelEvent, void, undefined> {
    yield { type: 'text', text: 'well' }
    yield { type: 'tool.call', call: 'call-1', name: 'wait', args: { id: messages[0]?.content } }
    yield { type: 'finish', stop: 'tool_calls' }
  },
}

/** The same transport; what it accepts is kept in `sockets` as long as it lives. */
function watching(transport: Transport, sockets: Set<Socket>): Transport {
  const watchingHost = (host: SocketAcceptor): SocketAcceptor => ({
    verify: (request) => host.verify(request),
    accept(socket, subprotocol) {
      sockets.add(socket)
      const events = host.accept(socket, subprotocol)
      return {
        arrived: (bytes) => events.arrived(bytes),
        message: (bytes) => events.message(bytes),
        text: (text) => events.text(text),
        drain: () => events.drain(),
        closed(code) {
          sockets.delete(socket)
          events.closed(code)
        },
      }
    },
  })
  return {
    name: transport.name,
    listen: (host, limits, at) => transport.listen(watchingHost(host), limits, at),
    stopAccepting: () => transport.stopAccepting(),
    close: () => transport.close(),
  }
}

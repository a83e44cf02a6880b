import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { pack, unpack } from 'msgpackr'
import { WebSocket, WebSocketServer } from 'ws'
import { tokens } from '../processes/token-source.ts'
import { Arrivals } from './arrivals.ts'
import type { Peer, PeerClient, PeerServer } from './peer.ts'
import { type Down, type Joining, RawConnection } from './raw-wire.ts'

/** One message for each token. */
export const perToken: Peer = { serve: () => serve('token'), connect }

/** One message for what one turn of the event loop makes: as little as can be done, and without any of our guarantees. */
export const perTurn: Peer = { serve: () => serve('turn'), connect }

/** One message for what a few milliseconds make. */
export const held: Peer = { serve: () => serve('hold'), connect }

async function serve(joining: Joining): Promise<PeerServer> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
  const joined = new Map<WebSocket, RawConnection>()
  server.on('connection', (socket) => {
    const raw = new RawConnection(
      (message) => socket.send(message),
      joining,
      () => joined.set(socket, raw),
    )
    socket.on('message', (message: Buffer) => raw.received(message))
    socket.on('error', () => socket.terminate())
    socket.on('close', () => {
      joined.delete(socket)
      raw.closed()
    })
  })
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    bufferedAmount: () => Math.max(0, ...[...server.clients].map((socket) => socket.bufferedAmount)),
    cut() {
      for (const socket of server.clients) socket.terminate()
    },
    async broadcast(request) {
      for await (const text of tokens(request, new AbortController().signal)) {
        if (joining !== 'token') {
          for (const raw of joined.values()) raw.token(1, text)
        } else {
          const message = pack([1, text])
          for (const socket of joined.keys()) socket.send(message)
        }
      }
    },
  }
}

/** The client of both, and of the two on µWebSockets, which has none of its own. */
export async function connect(port: number): Promise<PeerClient> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
  const streams = new Map<number, Arrivals>()
  let lastSid = 0
  socket.on('message', (message: Buffer) => {
    const down = unpack(message) as Down
    for (let i = 0; i < down.length; i += 2) {
      const sid = down[i] as number
      const said = down[i + 1] as string | string[] | null
      if (said === null) {
        streams.get(sid)?.end()
        streams.delete(sid)
      } else if (typeof said === 'string') streams.get(sid)?.push(said)
      else for (const text of said) streams.get(sid)?.push(text)
    }
  })
  socket.on('close', () => {
    for (const arrivals of streams.values()) arrivals.end(new Error('the connection was lost'))
  })
  await once(socket, 'open')
  return {
    read(request) {
      const sid = ++lastSid
      const arrivals = new Arrivals(() => {
        streams.delete(sid)
        socket.send(pack([sid, null]))
      })
      streams.set(sid, arrivals)
      socket.send(pack([sid, request]))
      return { [Symbol.asyncIterator]: () => arrivals }
    },
    close: async () => socket.terminate(),
  }
}

import uWS from 'uWebSockets.js'
import { pack } from 'msgpackr'
import { tokens } from '../processes/token-source.ts'
import type { Peer, PeerServer } from './peer.ts'
import { type Joining, RawConnection } from './raw-wire.ts'
import { connect } from './raw-ws.ts'

export const perToken: Peer = { serve: () => serve('token'), connect }

export const perTurn: Peer = { serve: () => serve('turn'), connect }

export const held: Peer = { serve: () => serve('hold'), connect }

/** So that it drops nothing, which it does as soon as more than this waits. */
const MOST_BUFFERED = 0x7fffffff
const ROOM = 'room'

type UserData = { raw?: RawConnection }

async function serve(joining: Joining): Promise<PeerServer> {
  const app = uWS.App()
  const sockets = new Set<uWS.WebSocket<UserData>>()
  app.ws<UserData>('/*', {
    maxBackpressure: MOST_BUFFERED,
    maxPayloadLength: 1_048_576,
    idleTimeout: 0,
    compression: uWS.DISABLED,
    open(socket) {
      sockets.add(socket)
      socket.getUserData().raw = new RawConnection(
        (message) => {
          if (sockets.has(socket)) socket.send(message, true)
        },
        joining,
        () => socket.subscribe(ROOM),
      )
    },
    message: (socket, message) => socket.getUserData().raw?.received(new Uint8Array(message)),
    close(socket) {
      sockets.delete(socket)
      socket.getUserData().raw?.closed()
    },
  })
  const port = await new Promise<number>((resolve, reject) => {
    app.listen('127.0.0.1', 0, (listening) => {
      if (listening) resolve(uWS.us_socket_local_port(listening))
      else reject(new Error('uWS does not listen'))
    })
  })
  return {
    port,
    bufferedAmount: () => Math.max(0, ...[...sockets].map((socket) => socket.getBufferedAmount())),
    cut() {
      for (const socket of [...sockets]) socket.close()
    },
    async broadcast(request) {
      for await (const text of tokens(request, new AbortController().signal)) app.publish(ROOM, pack([1, text]), true)
    },
  }
}

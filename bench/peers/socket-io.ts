import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Server } from 'socket.io'
import { io } from 'socket.io-client'
import { type TokenRequest, tokens } from '../processes/token-source.ts'
import { Arrivals } from './arrivals.ts'
import type { Peer } from './peer.ts'

const ROOM = 'room'

/** Events of short names: `s` starts, `x` cancels, `j` joins, `t` is a token, `e` an end. */
export const socketIo: Peer = {
  async serve() {
    const http = createServer()
    const server = new Server(http, { transports: ['websocket'], serveClient: false, perMessageDeflate: false })
    server.on('connection', (socket) => {
      const running = new Map<number, AbortController>()
      socket.on('s', (sid: number, request: TokenRequest) => {
        void (async () => {
          const controller = new AbortController()
          running.set(sid, controller)
          for await (const text of tokens(request, controller.signal)) {
            if (controller.signal.aborted) break
            socket.emit('t', sid, text)
          }
          running.delete(sid)
          socket.emit('e', sid)
        })()
      })
      socket.on('x', (sid: number) => running.get(sid)?.abort())
      socket.on('j', () => socket.join(ROOM))
      socket.on('disconnect', () => {
        for (const controller of running.values()) controller.abort()
      })
    })
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    return {
      port: (http.address() as AddressInfo).port,
      async broadcast(request) {
        for await (const text of tokens(request, new AbortController().signal)) server.to(ROOM).emit('t', 1, text)
      },
    }
  },

  async connect(port) {
    const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'], forceNew: true, reconnection: false })
    const streams = new Map<number, Arrivals>()
    let lastSid = 0
    socket.on('t', (sid: number, text: string) => streams.get(sid)?.push(text))
    socket.on('e', (sid: number) => {
      streams.get(sid)?.end()
      streams.delete(sid)
    })
    socket.on('disconnect', () => {
      for (const arrivals of streams.values()) arrivals.end(new Error('the connection was lost'))
    })
    await new Promise<void>((resolve, reject) => {
      socket.on('connect', resolve)
      socket.on('connect_error', reject)
    })
    return {
      read(request) {
        const sid = ++lastSid
        const arrivals = new Arrivals(() => {
          streams.delete(sid)
          socket.emit('x', sid)
        })
        streams.set(sid, arrivals)
        socket.emit('s', sid, request)
        return { [Symbol.asyncIterator]: () => arrivals }
      },
      close: async () => void socket.disconnect(),
    }
  },
}

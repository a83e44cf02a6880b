import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { MillraceError } from '../../protocol/errors.ts'
import type { HttpServer } from './transport.ts'

/** What is done with one upgrade request. */
export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void

/** Who takes which path of an HTTP server, and the one listener that asks. */
type Taken = { paths: Map<string, Upgrade>; listener: Upgrade }

/** For each HTTP server that is not ours. One listener for all: it can tell a path of nobody from one of somebody else. */
const takenOf = new WeakMap<HttpServer, Taken>()

/**
 * Gives the upgrade requests of one path of an HTTP server to `take`. Those of other paths are left to the server's
 * other listeners; where there are none they are refused with 404, since nobody else would ever answer them.
 * @returns what gives the path back.
 * @throws MillraceError `bad_request` for a path that is none, or that somebody has taken.
 */
export function takeUpgrades(server: HttpServer, path: string, take: Upgrade): () => void {
  if (!/^\/[^?#\s]*$/.test(path))
    throw new MillraceError('bad_request', `the path to attach at begins with / and has no query, not ${path}`)
  const { paths, listener } = takenOf.get(server) ?? listenOn(server)
  if (paths.has(path)) throw new MillraceError('bad_request', `${path} of this HTTP server is attached already`)
  paths.set(path, take)
  return () => {
    paths.delete(path)
    if (paths.size > 0) return
    server.off('upgrade', listener)
    takenOf.delete(server)
  }
}

/** Answers an upgrade request with an HTTP status, and ends its socket. */
export function refuseUpgrade(socket: Duplex, status: number, message: string): void {
  const body = `${message}\n`
  socket.on('error', () => socket.destroy())
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    () => socket.destroy(),
  )
}

function listenOn(server: HttpServer): Taken {
  const paths = new Map<string, Upgrade>()
  const listener: Upgrade = (request, socket, head) => {
    const [path = ''] = (request.url ?? '').split('?', 1)
    const take = paths.get(path)
    if (take) return take(request, socket, head)
    if (server.listenerCount('upgrade') === 1) refuseUpgrade(socket, 404, 'no WebSocket is served at this path')
  }
  const taken: Taken = { paths, listener }
  takenOf.set(server, taken)
  server.on('upgrade', listener)
  return taken
}

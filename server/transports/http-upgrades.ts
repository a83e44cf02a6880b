import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { MillraceError } from '../../protocol/errors.ts'
import type { HttpServer } from './transport.ts'

/** Handles one upgrade request. */
export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void

/** The handlers of an HTTP server's paths, and the one listener that calls them. */
type TakenPath = { readonly take: Upgrade; readonly below: readonly string[] }
type Taken = { paths: Map<string, TakenPath>; listener: Parameters<HttpServer['on']>[1] }

/**
 * The handlers of each HTTP server. One shared listener per server knows all attached paths, so it can tell whether a
 * request has no handler at all.
 */
const takenOf = new WeakMap<HttpServer, Taken>()

/**
 * Passes the upgrade requests of one path of an HTTP server to `take`. Requests for other paths go to the server's
 * other listeners. If there are none, they are refused with 404, because nothing else would answer them.
 * @param path A path that begins with `/` and has no query. It matches exactly, with any query.
 * @param subpaths Paths behind that path, each with anything behind it, that are passed on too. Default: none.
 * @returns A function that releases the path.
 * @throws MillraceError `bad_request` for an invalid path, and for a path that is already attached.
 */
export function takeUpgrades(
  server: HttpServer,
  path: string,
  take: Upgrade,
  subpaths: readonly string[] = [],
): () => void {
  if (!/^\/[^?#\s]*$/.test(path))
    throw new MillraceError('bad_request', `invalid path ${path}: use one that begins with / and has no query`)
  const { paths, listener } = takenOf.get(server) ?? listenOn(server)
  if (paths.has(path))
    throw new MillraceError('bad_request', `${path} of this HTTP server is attached already: choose another path`)
  paths.set(path, { take, below: subpaths.map((subpath) => path.replace(/\/$/, '') + subpath) })
  return () => {
    paths.delete(path)
    if (paths.size > 0) return
    server.off('upgrade', listener)
    takenOf.delete(server)
  }
}

/** Answers an upgrade request with an HTTP status and a text, and ends its socket. */
export function refuseUpgrade(socket: Duplex, status: number, message: string): void {
  const body = `${message}\n`
  socket.on('error', () => socket.destroy())
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    () => socket.destroy(),
  )
}

function listenOn(server: HttpServer): Taken {
  const paths = new Map<string, TakenPath>()
  const listener: Upgrade = (request, socket, head) => {
    const [path = ''] = (request.url ?? '').split('?', 1)
    const isBelow = ({ below }: TakenPath): boolean => below.some((start) => path.startsWith(start))
    const taken = paths.get(path) ?? [...paths.values()].find(isBelow)
    if (taken) return taken.take(request, socket, head)
    if (server.listenerCount('upgrade') === 1) refuseUpgrade(socket, 404, 'no WebSocket is served at this path')
  }
  const taken: Taken = { paths, listener: listener as Taken['listener'] }
  takenOf.set(server, taken)
  server.on('upgrade', taken.listener)
  return taken
}

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

/** What the upgrade request said, copied before the transport's own object dies. Header names are lower case. */
export type UpgradeRequest = {
  /** Path and query as sent. */
  readonly url: string
  readonly headers: ReadonlyMap<string, string>
  readonly origin: string | undefined
  readonly remoteAddress: string
  /** The address that was bound, as far as it is known: `127.0.0.1`. */
  readonly listensAt?: string | undefined
}

/** What the socket's owner is told. The transport never calls one of them from inside `send` or `close`. */
export interface SocketEvents {
  /** A binary message arrived. The bytes are the receiver's for the length of the call only. */
  message(bytes: Uint8Array): void
  /** A text message arrived: the protocol has none. */
  text(): void
  /** `bufferedAmount` fell to zero, or to where a refused `send` may be tried again. */
  drain(): void
  /**
   * The socket is gone, or all has been done that `close` can do: called exactly once, last. The code is that of the
   * peer's close frame and 1006 when none came; after `close` it may be the one that was given there.
   */
  closed(code: number): void
}

/**
 * One WebSocket of a transport. An adapter holds no logic: it frames, buffers and reports.
 */
export interface Socket {
  readonly request: UpgradeRequest
  /** Bytes accepted by `send` and not yet taken by the kernel. */
  readonly bufferedAmount: number
  /**
   * Sends one binary message. `sent`: accepted, though perhaps still buffered. `full`: nothing was taken; try again
   * after `drain`. `closed`: the socket is gone or going. The bytes may not be changed afterwards.
   */
  send(bytes: Uint8Array): 'sent' | 'full' | 'closed'
  /** Begins the closing handshake. Later messages of the peer are not delivered. `closed` follows in bounded time. */
  close(code: number, reason: string): void
  /** Ends the socket at once, without a handshake: the peer is gone. `closed` follows. */
  terminate(): void
}

/** Says whether a request may become a socket, or with which HTTP status it is refused. */
export type UpgradeVerdict = { ok: true } | { ok: false; status: 403 | 404 | 503; message: string }

/** Said with 426 to whoever asks the transport's own port for anything but a WebSocket. */
export const NO_WEBSOCKET: string = 'This is a WebSocket server: connect with the millrace client.\n'

/** What a transport asks of the server above it. */
export interface SocketAcceptor {
  /** Called before the upgrade. The only refusal there is of Origin (403), path (404) or a server that has closed (503). */
  verify(request: UpgradeRequest): UpgradeVerdict
  /** A socket is open. Returns who hears of it. `offered`: the subprotocols the client named. */
  accept(socket: Socket, subprotocol: 'known' | 'unknown'): SocketEvents
}

export type TransportLimits = {
  /** Largest message accepted, in bytes; a larger one closes 1009. */
  maxMessage: number
  /** Above this many buffered bytes `send` may answer `full`. */
  maxBuffered: number
}

/** An HTTP server that belongs to somebody else: Node's own, or what Express, Fastify and Hono give of it. */
export interface HttpServer {
  on(event: 'upgrade', listener: (request: IncomingMessage, socket: Duplex, head: Buffer) => void): unknown
  off(event: 'upgrade', listener: (request: IncomingMessage, socket: Duplex, head: Buffer) => void): unknown
  listenerCount(event: 'upgrade'): number
  /** The address that is bound; text for a socket in the file system. */
  address?(): { readonly address: string } | string | null
}

/** A way for sockets to come in. One suite runs on every transport. */
export interface Transport {
  readonly name: string
  /** Whether its own port speaks TLS, so that clients say `wss:`. Default false. */
  readonly secure?: boolean
  /** Listens; resolves with the port bound. Rejects with `unavailable` when the address is in use or not ours. */
  listen(
    acceptor: SocketAcceptor,
    limits: TransportLimits,
    at: { port: number; host: string },
  ): Promise<{ port: number }>
  /**
   * Takes the upgrade requests of one path of somebody else's HTTP server; any number of times, beside `listen` or
   * without it. Only where a transport can.
   * @throws MillraceError `bad_request` for a path that is none, or that is taken.
   */
  attach?(acceptor: SocketAcceptor, limits: TransportLimits, server: HttpServer, path: string): void
  /** Stops accepting new sockets; open ones live on. */
  stopAccepting(): void
  /**
   * Ends what is left and frees the port. Resolves when it is free, and sockets that are closing have delivered what
   * they hold or have had their time. What was attached to is let go of, and goes on.
   */
  close(): Promise<void>
}

/** A copy of an upgrade request, which outlives the transport's own object. Header names are in lower case. */
export type UpgradeRequest = {
  /** Path and query, as sent. */
  readonly url: string
  /** The headers, names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  /** The header Origin. `several` for a request with more than one; undefined for one without. */
  readonly origin: string | undefined
  /** The IP address of the peer. */
  readonly remoteAddress: string
  /** The address that the server is bound to, such as `127.0.0.1`. Undefined if the transport does not know it. */
  readonly listensAt?: string | undefined
}

const NO_HEADERS: UpgradeRequest['headers'] = new Map()

/** What is kept of a request once its client is known. */
export function knownRequest({ remoteAddress }: UpgradeRequest): UpgradeRequest {
  return { url: '', headers: NO_HEADERS, origin: undefined, remoteAddress }
}

/** The callbacks of a socket's owner. The transport never calls them from inside `send` or `close`. */
export interface SocketEvents {
  /**
   * Bytes arrived on the wire, of a message that may not be complete. Called before the message that they complete,
   * until `Socket.stopCounting`. A transport that cannot see them never calls it.
   */
  arrived(bytes: number): void
  /** A binary message arrived. The bytes are valid only during the call. */
  message(bytes: Uint8Array): void
  /** A text message arrived. The protocol has none; that of a page's own library may. */
  text(text: string): void
  /** `bufferedAmount` fell to zero, or low enough to try a refused `send` again. */
  drain(): void
  /**
   * The socket is closed, or `close` has done all that it can. The transport calls this exactly once, last.
   * @param code The code of the peer's close frame, or 1006 without one. After `close` it may be the code given there.
   */
  closed(code: number): void
}

/** One WebSocket of a transport. An adapter has no logic: it frames, buffers and reports. */
export interface Socket {
  /** A copy of its upgrade request. */
  readonly request: UpgradeRequest
  /** The number of bytes that `send` accepted and the kernel has not taken yet. */
  readonly bufferedAmount: number
  /**
   * Sends one binary message, or none of it. The caller must not change the bytes afterwards.
   * @returns `sent`: the message was accepted and may be buffered. `full`: nothing was accepted; try again after
   * `drain`. `closed`: the socket is closed or closing.
   */
  send(bytes: Uint8Array): 'sent' | 'full' | 'closed'
  /** Sends one text message, as `send` does. Absent: the transport sends only binary messages. */
  sendText?(text: string): 'sent' | 'full' | 'closed'
  /**
   * The most bytes of an unfinished message that the transport buffers without calling `arrived`, approximately. Default
   * 0: it calls `arrived`, or buffers nothing.
   */
  readonly unseenBytes?: number
  /** The client is known: `arrived` is not called any more. Absent where it never is. */
  stopCounting?(): void
  /** The client is known: of `request`, only `remoteAddress` is read from now on. The transport may drop the rest. */
  dropRequest?(): void
  /** Starts the closing handshake. No later message of the peer is delivered. `closed` follows in bounded time. */
  close(code: number, reason: string): void
  /** Ends the socket at once, without a handshake, such as for a silent peer. `closed` follows. */
  terminate(): void
}

/**
 * Accepts an upgrade request, or refuses it. With an HTTP status and a text: the handshake fails, and a browser tells the
 * page nothing but that. With a close code and a reason of at most 120 bytes: the handshake is completed, the socket is
 * closed at once, and nothing that the client sends is read.
 */
export type UpgradeVerdict =
  | { ok: true }
  | { ok: false; status: 403 | 404 | 503; message: string }
  | { ok: false; closeCode: number; reason: string }

/** The body of the response 426 to any request on the transport's own port that is not an upgrade. */
export const NO_WEBSOCKET: string = 'This is a WebSocket server: connect with the millrace client.\n'

/** Where a plain request came in. */
export type RequestPlace = {
  /** The part of the path that is not the server's: the path of an `attach`. Empty on a port of its own. */
  readonly prefix: string
  /** The address that the HTTP server is bound to, such as `127.0.0.1`. Undefined if it is not known. */
  readonly listensAt: string | undefined
  /** Nobody else answers requests there. */
  readonly isOnly: boolean
  /** Its client sends the body only once it is told to continue (RFC 9110, section 10.1.1), and was not told yet. */
  readonly awaitsContinue: boolean
}

/**
 * Answers a plain request, given as Node's request and response.
 * @returns false, and does nothing, for a path that is not its own. Where it is the only one, it answers every path.
 */
export type RequestTaker = (request: object, response: object, place: RequestPlace) => boolean

/** The members of a server that a transport uses. */
export interface SocketAcceptor {
  /** Decides about a request before the upgrade. A request that it refuses never comes to `accept`. */
  verify(request: UpgradeRequest): UpgradeVerdict
  /**
   * Takes an open socket and returns the callbacks for it.
   * @param subprotocol `known`: the client offered the subprotocol of millrace. `unknown`: it did not.
   */
  accept(socket: Socket, subprotocol: 'known' | 'unknown'): SocketEvents
  /** Where it is attached, it also takes sockets whose paths begin with its own path and one of these. Default: none. */
  readonly subpaths?: readonly string[] | undefined
  /** Answers requests that are no upgrades. Undefined: the server has no plain HTTP. */
  readonly takeRequest?: RequestTaker | undefined
}

/** Limits of each socket, from the limits of the server. */
export type TransportLimits = {
  /** Maximum size of a message from a client, in bytes. A larger one closes the socket with 1009. */
  maxMessage: number
  /** Number of buffered bytes above which `send` may return `full`. */
  maxBuffered: number
  /** How long a socket may be silent until its connection ends it, in milliseconds. A transport must not end it before. */
  silentMs: number
}

/**
 * An HTTP server of the application: Node's own, or the one that Express, Fastify or Hono provides. Its listeners take
 * Node's request, socket and head; they are not named here, so that a page can import the types of a server.
 */
export interface HttpServer {
  /** Adds a listener for upgrade requests. */
  on(event: 'upgrade', listener: (request: object, socket: object, head: Uint8Array) => void): unknown
  /** Removes a listener. */
  off(event: 'upgrade', listener: (request: object, socket: object, head: Uint8Array) => void): unknown
  /** Returns the number of listeners. */
  listenerCount(event: 'upgrade'): number
  /** The bound address; a string for a socket in the file system. */
  address?(): { readonly address: string } | string | null
}

/** A way for sockets to come in. `test/conformance/transport.ts` tests every implementation. */
export interface Transport {
  /** The name, for messages. */
  readonly name: string
  /** Whether its own port uses TLS, so that clients connect with `wss:`. Default false. */
  readonly secure?: boolean
  /** Whether it passes plain requests to the `takeRequest` of the server: on its own port, and where it is attached. */
  readonly takesRequests?: boolean
  /**
   * Listens on a port of its own. Resolves with the bound port.
   * @param at Port 0 takes a free port.
   * @throws MillraceError `unavailable` when the port is in use, or `host` is not an address of this machine.
   */
  listen(
    acceptor: SocketAcceptor,
    limits: TransportLimits,
    at: { port: number; host: string },
  ): Promise<{ port: number }>
  /**
   * Takes the upgrade requests of one path of an HTTP server of the application. It can be called any number of times,
   * with or without `listen`. Only some transports have it.
   * @throws MillraceError `bad_request` for an invalid path, and for a path that is already attached.
   */
  attach?(acceptor: SocketAcceptor, limits: TransportLimits, server: HttpServer, path: string): void
  /** Stops accepting new sockets. Open sockets stay open. */
  stopAccepting(): void
  /**
   * Ends all sockets, frees the port and releases the attached paths; HTTP servers of the application go on. Resolves
   * when the port is free, and each closing socket has delivered its data or reached its time limit.
   */
  close(): Promise<void>
}

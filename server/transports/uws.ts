import { createServer } from 'node:net'
import { MillraceError } from '../../protocol/errors.ts'
import { SUBPROTOCOL } from '../../protocol/frames.ts'
import { listenError } from './listen-error.ts'
import {
  NO_WEBSOCKET,
  type Socket,
  type SocketAcceptor,
  type SocketEvents,
  type Transport,
  type TransportLimits,
  type UpgradeRequest,
} from './transport.ts'

/** How large the headers of a request may be. */
const HEADERS_BYTES = 16_384
/** How long a closing socket may take to pass on what it holds. */
const CLOSE_MS = 2_000
/** How long after the last close code the transport waits when it closes: an END may still be on its way. */
const FAREWELL_MS = 300
/**
 * µWebSockets cuts a socket without a close code as soon as a frame announces more than it takes, and a client comes back
 * after a cut. So it takes this many times as much as is accepted: what is not very much too large is closed 1009.
 */
const OVERSIZE = 4
/** What its `send` returns when too much is buffered already: it has taken nothing of the message. */
const DROPPED = 2
/** No other process may listen at the same port, as it may by default. */
const EXCLUSIVE_PORT = 1

/** Between two steps of finding a free port somebody else may take it. */
const FREE_PORT_ATTEMPTS = 5
/** Its own numbers have 32 bits. */
const MOST = 0x7fffffff
/** A word of a header, as RFC 9110 has it. */
const TOKEN = /^[!#$%&'*+\-.^_`|~\da-z]+$/i
/** Of these a second one does not count; of others it is joined to the first. As Node has it. */
const ONCE: ReadonlySet<string> = new Set(['authorization', 'content-length', 'content-type', 'host', 'user-agent'])
const STATUS = {
  400: '400 Bad Request',
  403: '403 Forbidden',
  404: '404 Not Found',
  426: '426 Upgrade Required',
  431: '431 Request Header Fields Too Large',
  503: '503 Service Unavailable',
} as const
const NO_PROPER_REQUEST = 'this is no proper WebSocket request\n'

export type UwsOptions = {
  /** The package uWebSockets.js, which is the application's: `import uWS from 'uWebSockets.js'`. */
  module: UwsModule
  /** Speaks TLS (`wss:`). Default: does not. */
  ssl?: UwsSsl
}

/** Files that µWebSockets reads when it begins to listen. */
export type UwsSsl = {
  /** Path of the private key, as PEM. */
  keyFile: string
  /** Path of the certificate and its chain, as PEM. */
  certFile: string
  /** Of the private key. Default: it has none. */
  passphrase?: string
}

/** What is used of uWebSockets.js. */
export interface UwsModule {
  App(): UwsApp
  SSLApp(options: { key_file_name: string; cert_file_name: string; passphrase?: string }): UwsApp
  us_listen_socket_close(listening: UwsListening): void
  us_socket_local_port(listening: UwsListening): number
}

/** Native handles. */
type UwsListening = object

interface UwsApp {
  ws(pattern: string, behavior: UwsBehavior): unknown
  any(pattern: string, handler: (response: UwsResponse, request: UwsRequest) => void): unknown
  listen(host: string, port: number, done: Listened): unknown
  close(): unknown
}

type Listened = (listening: UwsListening | false) => void
/** A form of `listen` that the module's own types leave out. */
type ListenWith = { listen(host: string, port: number, options: number, done: Listened): unknown }

interface UwsBehavior {
  maxPayloadLength: number
  maxBackpressure: number
  idleTimeout: number
  sendPingsAutomatically: boolean
  compression: number
  upgrade(response: UwsResponse, request: UwsRequest, context: object): void
  open(webSocket: UwsWebSocket): void
  message(webSocket: UwsWebSocket, message: ArrayBuffer, isBinary: boolean): void
  drain(webSocket: UwsWebSocket): void
  close(webSocket: UwsWebSocket, code: number): void
}

/** Lives as long as the callback that is given it. */
interface UwsRequest {
  getUrl(): string
  getQuery(): string | undefined
  getHeader(name: string): string
  forEach(each: (name: string, value: string) => void): void
}

interface UwsResponse {
  writeStatus(status: string): UwsResponse
  writeHeader(name: string, value: string): UwsResponse
  end(body: string, closeConnection: boolean): unknown
  getRemoteAddress(): ArrayBuffer
  upgrade(userData: object, key: string, protocol: string, extensions: string, context: object): void
}

/** Throws when it is used after its `close`, which comes at once, from inside `end` and `close`. */
interface UwsWebSocket {
  send(message: Uint8Array, isBinary: boolean): number
  getBufferedAmount(): number
  end(code: number, reason: string): unknown
  close(): unknown
  getUserData(): unknown
}

/**
 * The transport on µWebSockets: a port of its own, and nothing on it but WebSockets. What it cannot help: the module
 * drops a request of a hundred headers, answers 505 to a request whose first line arrives in pieces, takes frames that
 * are not masked for masked ones, and cuts a peer that breaks another rule of WebSocket framing without a close code.
 */
export function uws({ module, ssl }: UwsOptions): Transport {
  const sockets = new Set<UwsSocket>()
  let app: UwsApp | undefined
  let listening: UwsListening | undefined
  let leaving = false
  /** When the last close code was sent. It is not known when it has arrived. */
  let endedAt = Number.NEGATIVE_INFINITY

  function stopAccepting(): void {
    leaving = true
    if (listening) module.us_listen_socket_close(listening)
    listening = undefined
  }

  function upgrade(acceptor: SocketAcceptor, limits: TransportLimits, listensAt: string): UwsBehavior['upgrade'] {
    return (response, request, context) => {
      const asked = { ...upgradeRequest(response, request), listensAt }
      if (headerBytes(asked) > HEADERS_BYTES) return refuse(response, 431, 'the headers of the request are too large\n')
      const offered = subprotocols(asked.headers.get('sec-websocket-protocol'))
      const isVersion = /^(8|13)$/.test(asked.headers.get('sec-websocket-version') ?? '')
      const isWebSocket = asked.headers.get('upgrade')?.toLowerCase() === 'websocket'
      if (!offered || !isVersion || !isWebSocket) return refuse(response, 400, NO_PROPER_REQUEST)
      if (leaving) return refuse(response, 503, 'this server is going away\n')
      const verdict = acceptor.verify(asked)
      if (!verdict.ok) return refuse(response, verdict.status, `${verdict.message}\n`)
      const known = offered.includes(SUBPROTOCOL)
      // A client that names protocols must be told one, or a browser gives up; an unknown one is closed with 4406 above.
      const chosen = known ? SUBPROTOCOL : (offered[0] ?? '')
      const socket = new UwsSocket(asked, limits, (self) => acceptor.accept(self, known ? 'known' : 'unknown'))
      response.upgrade({ socket }, request.getHeader('sec-websocket-key'), chosen, '', context)
    }
  }

  return {
    name: 'uws',
    secure: ssl !== undefined,
    async listen(acceptor, limits, { port, host: address }) {
      const created = createApp(module, ssl)
      created.ws('/*', {
        maxPayloadLength: Math.min(limits.maxMessage * OVERSIZE, MOST),
        // Above it `send` takes nothing, nor are pings answered that the peer sends and does not read the answers of.
        maxBackpressure: Math.min(limits.maxBuffered, MOST),
        // The protocol has its own heartbeat.
        idleTimeout: 0,
        sendPingsAutomatically: false,
        compression: 0,
        upgrade: upgrade(acceptor, limits, address),
        open(webSocket) {
          const socket = socketOf(webSocket)
          sockets.add(socket)
          socket.opened(webSocket)
        },
        message: (webSocket, bytes, isBinary) => socketOf(webSocket).received(bytes, isBinary),
        drain: (webSocket) => socketOf(webSocket).drained(),
        close(webSocket, code) {
          const socket = socketOf(webSocket)
          sockets.delete(socket)
          if (socket.hasEnded) endedAt = performance.now()
          socket.gone(code)
        },
      })
      created.any('/*', (response, request) => {
        if (request.getHeader('upgrade') === '') refuse(response, 426, NO_WEBSOCKET)
        else refuse(response, 400, NO_PROPER_REQUEST)
      })
      const bound = await (port === 0 ? bindFree(module, created, address) : bind(created, address, port))
      if (!bound) {
        created.close()
        throw await whyNot(address, port)
      }
      app = created
      listening = bound
      return { port: module.us_socket_local_port(bound) }
    },
    stopAccepting,
    async close() {
      stopAccepting()
      for (const socket of [...sockets]) if (!socket.isClosing) socket.terminate()
      // To cut off at once who was just told a close code could take it away again, and what came before it.
      const restMs = sockets.size > 0 ? FAREWELL_MS : endedAt + FAREWELL_MS - performance.now()
      if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs))
      for (const socket of [...sockets]) socket.terminate()
      // A turn later everybody has been told.
      await new Promise((resolve) => setImmediate(resolve))
      app?.close()
      app = undefined
    },
  }
}

/** One socket, from its upgrade on. */
class UwsSocket implements Socket {
  readonly request: UpgradeRequest
  readonly #limits: TransportLimits
  readonly #accept: (self: Socket) => SocketEvents
  #webSocket: UwsWebSocket | undefined
  #events: SocketEvents | undefined
  /** Bytes were refused: whoever has them waits for `drain`. */
  #isRefused = false
  /** The module was told to close it with a code. */
  hasEnded = false
  /** With what it closes, once it does. */
  #farewell: { code: number; reason: string } | undefined
  #closeTimer: NodeJS.Timeout | undefined

  constructor(request: UpgradeRequest, limits: TransportLimits, accept: (self: Socket) => SocketEvents) {
    this.request = request
    this.#limits = limits
    this.#accept = accept
  }

  get isClosing(): boolean {
    return this.#farewell !== undefined
  }

  get bufferedAmount(): number {
    return this.#webSocket?.getBufferedAmount() ?? 0
  }

  send(bytes: Uint8Array): 'sent' | 'full' | 'closed' {
    const webSocket = this.#webSocket
    if (!webSocket || this.#farewell) return 'closed'
    this.#isRefused = webSocket.send(bytes, true) === DROPPED
    return this.#isRefused ? 'full' : 'sent'
  }

  close(code: number, reason: string): void {
    if (!this.#webSocket || this.#farewell) return
    this.#farewell = { code, reason }
    // Once it was told to end it can no longer be watched, so it first passes on what it holds.
    if (this.#webSocket.getBufferedAmount() === 0) this.#end(code, reason)
    else this.#closeTimer = setTimeout(() => this.terminate(), CLOSE_MS).unref()
  }

  terminate(): void {
    this.#webSocket?.close()
  }

  // --- what the module says

  opened(webSocket: UwsWebSocket): void {
    this.#webSocket = webSocket
    this.#events = this.#accept(this)
  }

  received(bytes: ArrayBuffer, isBinary: boolean): void {
    if (this.#farewell) return
    if (bytes.byteLength > this.#limits.maxMessage) return this.close(1009, 'the message is too large')
    if (isBinary) this.#events?.message(new Uint8Array(bytes))
    else this.#events?.text()
  }

  /** The kernel took some of what was buffered, or all. */
  drained(): void {
    const buffered = this.bufferedAmount
    if (this.#farewell) {
      if (buffered === 0) this.#end(this.#farewell.code, this.#farewell.reason)
      return
    }
    if (buffered > 0 && !(this.#isRefused && buffered <= this.#limits.maxBuffered)) return
    this.#isRefused = false
    this.#events?.drain()
  }

  #end(code: number, reason: string): void {
    this.hasEnded = true
    this.#webSocket?.end(code, reason)
  }

  gone(code: number): void {
    this.#webSocket = undefined
    clearTimeout(this.#closeTimer)
    const events = this.#events
    this.#events = undefined
    // It may be `close` or `terminate` that is going on.
    setImmediate(() => events?.closed(code))
  }
}

function socketOf(webSocket: UwsWebSocket): UwsSocket {
  return (webSocket.getUserData() as { socket: UwsSocket }).socket
}

function createApp(module: UwsModule, ssl: UwsSsl | undefined): UwsApp {
  if (!ssl) return module.App()
  const { keyFile, certFile, passphrase } = ssl
  try {
    return module.SSLApp({
      key_file_name: keyFile,
      cert_file_name: certFile,
      ...(passphrase === undefined ? {} : { passphrase }),
    })
  } catch (cause) {
    throw new MillraceError('bad_request', `TLS cannot be set up with ${keyFile} and ${certFile}`, { cause })
  }
}

function bind(app: UwsApp, host: string, port: number): Promise<UwsListening | false> {
  return new Promise((resolve) => {
    ;(app as unknown as ListenWith).listen(host, port, EXCLUSIVE_PORT, resolve)
  })
}

/**
 * Listens at a free port. Asked for any port, the module binds it without SO_REUSEADDR, and a server that comes back to
 * it would find it in use for a minute: so it is asked for the same port once more, by its number.
 */
async function bindFree(module: UwsModule, app: UwsApp, host: string): Promise<UwsListening | false> {
  for (let attempt = 0; attempt < FREE_PORT_ATTEMPTS; attempt++) {
    const any = await bind(app, host, 0)
    if (!any) return false
    const port = module.us_socket_local_port(any)
    module.us_listen_socket_close(any)
    const bound = await bind(app, host, port)
    if (bound) return bound
  }
  return false
}

/** Why it could not listen, which it does not say itself: Node's own server is asked to do the same. */
async function whyNot(host: string, port: number): Promise<MillraceError> {
  const probe = createServer()
  return await new Promise((resolve) => {
    probe.once('error', (cause) => resolve(listenError(cause, host, port)))
    probe.listen(port, host, () => {
      const cause = Object.assign(new Error('the module gave no reason'), { code: 'no reason given' })
      probe.close(() => resolve(listenError(cause, host, port)))
    })
  })
}

/** A copy: the request itself is gone when its callback returns. */
function upgradeRequest(response: UwsResponse, request: UwsRequest): UpgradeRequest {
  const headers = new Map<string, string>()
  request.forEach((name, value) => {
    const before = headers.get(name)
    if (before === undefined) headers.set(name, value)
    else if (!ONCE.has(name)) headers.set(name, `${before}${name === 'cookie' ? '; ' : ', '}${value}`)
  })
  let origins = 0
  request.forEach((name) => {
    if (name === 'origin') origins++
  })
  const query = request.getQuery()
  return {
    url: query ? `${request.getUrl()}?${query}` : request.getUrl(),
    headers,
    // Several Origin headers are none that could be on a list.
    origin: origins > 1 ? 'several' : headers.get('origin'),
    remoteAddress: addressText(new Uint8Array(response.getRemoteAddress())),
  }
}

function headerBytes({ url, headers }: UpgradeRequest): number {
  let bytes = url.length
  for (const [name, value] of headers) bytes += name.length + value.length
  return bytes
}

/** The subprotocols that a client offers, or nothing when that is no list of different words. */
function subprotocols(header: string | undefined): string[] | undefined {
  if (header === undefined) return []
  const offered = header.split(',').map((name) => name.trim())
  return offered.every((name) => TOKEN.test(name)) && new Set(offered).size === offered.length ? offered : undefined
}

/** An IP address as Node writes it. */
function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length !== 16) return ''
  const isMapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff
  if (isMapped) return `::ffff:${bytes.subarray(12).join('.')}`
  const groups = Array.from({ length: 8 }, (_, n) => (bytes[2 * n]! * 256 + bytes[2 * n + 1]!).toString(16))
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}

function refuse(response: UwsResponse, status: keyof typeof STATUS, message: string): void {
  response.writeStatus(STATUS[status]).writeHeader('content-type', 'text/plain').end(message, true)
}

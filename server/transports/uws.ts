import { createServer } from 'node:net'
import { MillraceError } from '../../protocol/errors.ts'
import { SUBPROTOCOL } from '../../protocol/frames.ts'
import { listenError } from './listen-error.ts'
import {
  knownRequest,
  NO_WEBSOCKET,
  type Socket,
  type SocketAcceptor,
  type SocketEvents,
  type Transport,
  type TransportLimits,
  type UpgradeRequest,
} from './transport.ts'

/** Maximum size of a request's headers, in bytes. */
const HEADERS_BYTES = 16_384
/** The longest silence that the module can watch for, in seconds, and what it must be longer than that of the protocol. */
const MOST_IDLE_SECONDS = 960
const SPARE_IDLE_SECONDS = 60
/** Time limit for a closing socket to send its buffered data, in milliseconds. */
const CLOSE_MS = 2_000
/** Wait after the last close code when the transport closes, in milliseconds: an END may still be in transit. */
const CLOSING_MS = 300
/**
 * The factor between the message size that µWebSockets accepts and `maxMessage`. µWebSockets cuts a socket without a
 * close code when a frame announces more than it accepts, and a client reconnects after a cut. With this factor, a
 * message that is not far too large is closed with 1009 instead.
 */
const OVERSIZE = 4
/** The return value of its `send` when too much is buffered: it has accepted nothing of the message. */
const DROPPED = 2
/** The option that lets no other process listen on the same port. By default another process can. */
const EXCLUSIVE_PORT = 1

/** Attempts to bind a free port: another process may take it between the two steps. */
const FREE_PORT_ATTEMPTS = 5
/** Maximum of the module's 32-bit numbers. */
const MOST = 0x7fffffff
/** A token of a header (RFC 9110, section 5.6.2). */
const TOKEN = /^[!#$%&'*+\-.^_`|~\da-z]+$/i
/** Headers of which only the first counts. Repeated other headers are joined. Node does the same. */
const ONCE: ReadonlySet<string> = new Set(['authorization', 'content-length', 'content-type', 'host', 'user-agent'])
const STATUS = {
  400: '400 Bad Request',
  403: '403 Forbidden',
  404: '404 Not Found',
  426: '426 Upgrade Required',
  431: '431 Request Header Fields Too Large',
  503: '503 Service Unavailable',
} as const
const NO_PROPER_REQUEST = 'this is not a valid WebSocket request\n'

/** The options of `uws()`. */
export type UwsOptions = {
  /** The package uWebSockets.js, which the application installs: `import uWS from 'uWebSockets.js'`. */
  module: UwsModule
  /** Files for TLS (`wss:`). Default: no TLS. */
  ssl?: UwsSsl | undefined
}

/** Files that µWebSockets reads when it starts to listen. */
export type UwsSsl = {
  /** Path of the private key, in PEM. */
  keyFile: string
  /** Path of the certificate and its chain, in PEM. */
  certFile: string
  /** Passphrase of the private key. Default: none. */
  passphrase?: string | undefined
}

/** The part of uWebSockets.js that this transport uses. */
export interface UwsModule {
  /** Makes an application without TLS. */
  App(): UwsApp
  /** Makes an application with TLS. */
  SSLApp(options: { key_file_name: string; cert_file_name: string; passphrase?: string }): UwsApp
  /** Stops listening. */
  us_listen_socket_close(listening: UwsListening): void
  /** Returns the bound port. */
  us_socket_local_port(listening: UwsListening): number
}

/** A native handle. */
type UwsListening = object

interface UwsApp {
  ws(pattern: string, behavior: UwsBehavior): unknown
  any(pattern: string, handler: (response: UwsResponse, request: UwsRequest) => void): unknown
  listen(host: string, port: number, done: Listened): unknown
  close(): unknown
}

type Listened = (listening: UwsListening | false) => void
/** A signature of `listen` that is missing in the module's own types. */
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

/** Valid only during the callback that receives it. */
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

/** Every method throws after its `close` event, which fires synchronously inside `end` and `close`. */
interface UwsWebSocket {
  send(message: Uint8Array, isBinary: boolean): number
  getBufferedAmount(): number
  end(code: number, reason: string): unknown
  close(): unknown
  getUserData(): unknown
}

/**
 * Makes the transport on µWebSockets. It has a port of its own, only for WebSockets. The module has limits that this
 * transport cannot change. It drops a request with 100 headers or more. It answers 505 to a request whose first line
 * arrives in pieces. It reads unmasked frames as masked ones. It cuts a peer that breaks another rule of WebSocket
 * framing without a close code.
 */
export function uws({ module, ssl }: UwsOptions): Transport {
  const sockets = new Set<UwsSocket>()
  let app: UwsApp | undefined
  let listening: UwsListening | undefined
  let leaving = false
  /** The time when the last close code was sent. The time of its arrival is unknown. */
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
      if (!verdict.ok && 'status' in verdict) return refuse(response, verdict.status, `${verdict.message}\n`)
      const known = offered.includes(SUBPROTOCOL)
      // A browser that names subprotocols gives up unless it gets one. The server closes an unknown one with 4406.
      const chosen = known ? SUBPROTOCOL : (offered[0] ?? '')
      const socket = new UwsSocket(asked, limits, (self) => {
        if (verdict.ok) return acceptor.accept(self, known ? 'known' : 'unknown')
        self.close(verdict.closeCode, verdict.reason)
        return undefined
      })
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
        // Above this, `send` accepts nothing, and pings of a peer that does not read are not answered.
        maxBackpressure: Math.min(limits.maxBuffered, MOST),
        idleTimeout: idleSeconds(limits.silentMs),
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
      // To cut at once could lose a close code in transit, and the data before it.
      const restMs = sockets.size > 0 ? CLOSING_MS : endedAt + CLOSING_MS - performance.now()
      if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs))
      for (const socket of [...sockets]) socket.terminate()
      // `closed` of every socket is called in the next loop turn.
      await new Promise((resolve) => setImmediate(resolve))
      app?.close()
      app = undefined
    },
  }
}

/**
 * The module's own limit of silence, in seconds; 0 is none. It never ends a socket, because the protocol has a heartbeat
 * of its own. But the module derives from it how long a socket that was closed may take to deliver what was sent before:
 * 12 to 16 s, and without a limit 0 to 4, which cut off a peer that did not read at once, and lost its close code.
 */
function idleSeconds(silentMs: number): number {
  return silentMs < (MOST_IDLE_SECONDS - SPARE_IDLE_SECONDS) * 1_000 ? MOST_IDLE_SECONDS : 0
}

/** One socket, from its upgrade to its end. */
class UwsSocket implements Socket {
  request: UpgradeRequest
  readonly #limits: TransportLimits
  /** Until it is open. It keeps the request alive. */
  #accept: ((self: Socket) => SocketEvents | undefined) | undefined
  #webSocket: UwsWebSocket | undefined
  #events: SocketEvents | undefined
  /** The last `send` was refused: its caller waits for `drain`. */
  #isRefused = false
  /** A close code was passed to the module. */
  hasEnded = false
  /** The code and reason of `close`. Undefined before it. */
  #closing: { code: number; reason: string } | undefined
  #closeTimer: NodeJS.Timeout | undefined

  /** @param accept returns undefined for a socket that it has closed because it is refused. */
  constructor(request: UpgradeRequest, limits: TransportLimits, accept: (self: Socket) => SocketEvents | undefined) {
    this.request = request
    this.#limits = limits
    this.#accept = accept
  }

  /** The module buffers what has arrived of a message, and does not say how much. */
  get unseenBytes(): number {
    return this.#limits.maxMessage
  }

  dropRequest(): void {
    this.request = knownRequest(this.request)
  }

  get isClosing(): boolean {
    return this.#closing !== undefined
  }

  get bufferedAmount(): number {
    return this.#webSocket?.getBufferedAmount() ?? 0
  }

  send(bytes: Uint8Array): 'sent' | 'full' | 'closed' {
    return this.#send(bytes, true)
  }

  sendText(text: string): 'sent' | 'full' | 'closed' {
    return this.#send(Buffer.from(text), false)
  }

  #send(bytes: Uint8Array, isBinary: boolean): 'sent' | 'full' | 'closed' {
    const webSocket = this.#webSocket
    if (!webSocket || this.#closing) return 'closed'
    this.#isRefused = webSocket.send(bytes, isBinary) === DROPPED
    return this.#isRefused ? 'full' : 'sent'
  }

  close(code: number, reason: string): void {
    if (!this.#webSocket || this.#closing) return
    this.#closing = { code, reason }
    // After `end`, its buffer can no longer be observed. So it sends its buffered data first.
    if (this.#webSocket.getBufferedAmount() === 0) this.#end(code, reason)
    else this.#closeTimer = setTimeout(() => this.terminate(), CLOSE_MS).unref()
  }

  terminate(): void {
    this.#webSocket?.close()
  }

  // --- called by the module

  opened(webSocket: UwsWebSocket): void {
    this.#webSocket = webSocket
    this.#events = this.#accept?.(this)
    this.#accept = undefined
  }

  received(bytes: ArrayBuffer, isBinary: boolean): void {
    if (this.#closing) return
    if (bytes.byteLength > this.#limits.maxMessage) return this.close(1009, 'the message is too large')
    if (isBinary) this.#events?.message(new Uint8Array(bytes))
    else this.#events?.text(Buffer.from(bytes).toString())
  }

  /** The kernel took some or all of the buffered bytes. */
  drained(): void {
    const buffered = this.bufferedAmount
    if (this.#closing) {
      if (buffered === 0) this.#end(this.#closing.code, this.#closing.reason)
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
    // In a later loop turn, because this may run inside `close` or `terminate`.
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
    throw new MillraceError(
      'bad_request',
      `cannot set up TLS with ${keyFile} and ${certFile}: check both files and the passphrase`,
      { cause },
    )
  }
}

function bind(app: UwsApp, host: string, port: number): Promise<UwsListening | false> {
  return new Promise((resolve) => {
    ;(app as unknown as ListenWith).listen(host, port, EXCLUSIVE_PORT, resolve)
  })
}

/**
 * Listens on a free port. The module binds port 0 without SO_REUSEADDR: a restarted server would find that port in use
 * for a minute. So this function finds a free port first, and then binds it again by its number.
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

/** The reason why the module could not listen. It reports none, so a server of Node tries the same port. */
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

/** Copies a request, which is valid only during its callback. */
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
    // Several Origin headers match no list of allowed origins.
    origin: origins > 1 ? 'several' : headers.get('origin'),
    remoteAddress: addressText(new Uint8Array(response.getRemoteAddress())),
  }
}

function headerBytes({ url, headers }: UpgradeRequest): number {
  let bytes = url.length
  for (const [name, value] of headers) bytes += name.length + value.length
  return bytes
}

/** The subprotocols that a client offers. Undefined if the header is not a list of different tokens. */
function subprotocols(header: string | undefined): string[] | undefined {
  if (header === undefined) return []
  const offered = header.split(',').map((name) => name.trim())
  return offered.every((name) => TOKEN.test(name)) && new Set(offered).size === offered.length ? offered : undefined
}

/** An IP address in the notation of Node. */
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

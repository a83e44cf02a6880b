import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { SUBPROTOCOL } from '../../protocol/frames.ts'
import { refuseUpgrade, takeUpgrades, type Upgrade } from './http-upgrades.ts'
import { HEADERS_MS, PlainPort, takeRequests } from './plain-port.ts'
import {
  type HttpServer,
  knownRequest,
  type Socket,
  type SocketAcceptor,
  type SocketEvents,
  type Transport,
  type TransportLimits,
  type UpgradeRequest,
} from './transport.ts'
import { binaryFrame, textFrame } from './ws-frame.ts'

/** Maximum number of pieces of one message: of its frames, and of the reads in which a frame arrived. */
const MAX_FRAGMENTS = 4_096
const MAX_CHUNKS = 16_384
/** Time limit for closing sockets when the transport closes, in milliseconds: an END may still be in their buffers. */
const CLOSING_MS = 500
/** Time limit for the peer's answer to a close, in milliseconds. */
const CLOSE_MS = 2_000

/** The options of `ws()`. */
export type WsOptions = {
  /** Time limit for a client to send its request with all headers, in milliseconds. Default 5,000. */
  headersMs?: number | undefined
}

/** Makes the default transport, on the package `ws`: with an HTTP server of its own, or attached to others. */
export function ws({ headersMs = HEADERS_MS }: WsOptions = {}): Transport {
  let port: PlainPort | undefined
  let sockets: WebSocketServer | undefined
  /** Completes the handshakes of refused requests. Any message ends such a socket before it is held. */
  let refusals: WebSocketServer | undefined
  let leaving = false
  const detaches: (() => void)[] = []

  function upgrades(acceptor: SocketAcceptor, limits: TransportLimits, at: HttpServer): Upgrade {
    const mine = (sockets ??= webSocketServer(limits.maxMessage))
    return (request, socket, head) => {
      socket.on('error', destroy)
      const asked = upgradeRequest(request, at)
      const verdict = leaving
        ? ({ ok: false, status: 503, message: 'this server is going away' } as const)
        : acceptor.verify(asked)
      if (!verdict.ok && 'status' in verdict) return refuseUpgrade(socket, verdict.status, verdict.message)
      if (!verdict.ok) {
        refusals ??= webSocketServer(1)
        return refusals.handleUpgrade(request, socket, head, (webSocket) => refuse(webSocket, verdict))
      }
      mine.handleUpgrade(request, socket, head, (webSocket) => accept(acceptor, webSocket, socket, asked, limits))
    }
  }

  return {
    name: 'ws',
    takesRequests: true,
    async listen(acceptor, limits, at) {
      port = new PlainPort(acceptor.takeRequest, headersMs)
      port.server.on('upgrade', upgrades(acceptor, limits, port.server))
      return await port.listen(at)
    },
    attach(acceptor, limits, server, path) {
      detaches.push(takeUpgrades(server, path, upgrades(acceptor, limits, server), acceptor.subpaths))
      if (acceptor.takeRequest) detaches.push(takeRequests(server, path, acceptor.takeRequest))
    },
    stopAccepting() {
      leaving = true
      port?.stopAccepting()
    },
    async close() {
      leaving = true
      await finishClosing([...(sockets?.clients ?? []), ...(refusals?.clients ?? [])])
      for (const detach of detaches.splice(0)) detach()
      sockets?.close()
      refusals?.close()
      await port?.close(CLOSING_MS)
    },
  }
}

/** Listens to errors of a stream. A closure would keep the request with its headers as long as the stream lives. */
function destroy(this: Duplex): void {
  this.destroy()
}

/** Ends open sockets at once, and waits up to `CLOSING_MS` for closing sockets to deliver their data. */
async function finishClosing(clients: readonly WebSocket[]): Promise<void> {
  for (const socket of clients) if (socket.readyState === socket.OPEN) socket.terminate()
  await new Promise<void>((resolve) => {
    let open = 0
    const timer = setTimeout(resolve, CLOSING_MS)
    for (const socket of clients) {
      if (socket.readyState === socket.CLOSED) continue
      open++
      socket.once('close', () => {
        if (--open === 0) done()
      })
    }
    const done = (): void => {
      clearTimeout(timer)
      resolve()
    }
    if (open === 0) done()
  })
  for (const socket of clients) socket.terminate()
}

function webSocketServer(maxPayload: number): WebSocketServer {
  return new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload,
    maxFragments: MAX_FRAGMENTS,
    maxBufferedChunks: MAX_CHUNKS,
    // A browser that names subprotocols gives up unless it gets one. The server closes an unknown one with 4406.
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : ([...offered][0] ?? false)),
  })
}

function upgradeRequest(request: IncomingMessage, at: HttpServer): UpgradeRequest {
  const headers = new Map<string, string>()
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value)
  }
  // Several Origin headers match no list of allowed origins.
  const origins = request.headersDistinct['origin']
  const bound = at.address?.()
  return {
    url: request.url ?? '/',
    headers,
    origin: origins && origins.length > 1 ? 'several' : origins?.[0],
    remoteAddress: request.socket.remoteAddress ?? '',
    listensAt: typeof bound === 'object' ? bound?.address : undefined,
  }
}

/** Closes a socket that was opened only to say why it is refused. */
function refuse(webSocket: WebSocket, { closeCode, reason }: { closeCode: number; reason: string }): void {
  webSocket.on('error', () => {})
  webSocket.close(closeCode, reason)
  terminateLate(webSocket)
}

function accept(
  acceptor: SocketAcceptor,
  webSocket: WebSocket,
  stream: Duplex,
  request: UpgradeRequest,
  limits: TransportLimits,
): void {
  const socket = new WsSocket(webSocket, stream, request, limits)
  const known = webSocket.protocol === SUBPROTOCOL
  let events: SocketEvents | undefined = acceptor.accept(socket, known ? 'known' : 'unknown')
  socket.count((bytes) => {
    const wasOpen = webSocket.readyState === webSocket.OPEN
    events?.arrived(bytes)
    // A socket that was closed for too many bytes must not fill memory further until its peer answers the close.
    if (wasOpen && webSocket.readyState !== webSocket.OPEN) webSocket.pause()
  })
  webSocket.on('message', (data: Buffer, isBinary) => {
    if (webSocket.readyState !== webSocket.OPEN) return
    if (isBinary) events?.message(data)
    else events?.text(data.toString())
  })
  // `ws` has sent the close code of the fault and ended its side: to cut now could lose the code in transit.
  webSocket.on('error', () => terminateLate(webSocket))
  webSocket.on('close', (code) => {
    events?.closed(code)
    events = undefined
  })
  stream.on('drain', () => events?.drain())
}

/**
 * A class and not an object literal. V8 makes a dictionary of a literal with a getter: that takes half a kilobyte, and
 * a lookup by name for each message.
 */
class WsSocket implements Socket {
  request: UpgradeRequest
  readonly #webSocket: WebSocket
  /** The stream below the WebSocket, as the HTTP server handed it over. */
  readonly #stream: Duplex
  readonly #limits: TransportLimits
  #counting: ((chunk: Buffer) => void) | undefined

  constructor(webSocket: WebSocket, stream: Duplex, request: UpgradeRequest, limits: TransportLimits) {
    this.request = request
    this.#webSocket = webSocket
    this.#stream = stream
    this.#limits = limits
  }

  get bufferedAmount(): number {
    return this.#stream.writableLength
  }

  send(bytes: Uint8Array): 'sent' | 'full' | 'closed' {
    const webSocket = this.#webSocket
    if (webSocket.readyState !== webSocket.OPEN) return 'closed'
    if (this.#stream.writableLength > this.#limits.maxBuffered) return 'full'
    // `ws` writes header and message apart, which costs more. Its own control frames are whole writes on this stream too.
    this.#stream.write(frameOf(bytes))
    return 'sent'
  }

  sendText(text: string): 'sent' | 'full' | 'closed' {
    const webSocket = this.#webSocket
    if (webSocket.readyState !== webSocket.OPEN) return 'closed'
    if (this.#stream.writableLength > this.#limits.maxBuffered) return 'full'
    this.#stream.write(textFrame(text))
    return 'sent'
  }

  /** Calls `arrived` before `ws` reads what arrived. It buffers a message until it is complete. */
  count(arrived: (bytes: number) => void): void {
    this.#counting = (chunk) => arrived(chunk.length)
    this.#stream.prependListener('data', this.#counting)
  }

  stopCounting(): void {
    if (this.#counting) this.#stream.off('data', this.#counting)
    this.#counting = undefined
  }

  dropRequest(): void {
    this.request = knownRequest(this.request)
  }

  close(code: number, reason: string): void {
    this.#webSocket.close(code, reason)
    terminateLate(this.#webSocket)
  }

  terminate(): void {
    this.#webSocket.terminate()
  }
}

/** The last message, and its frame. Neither changes: one message may go to a thousand sockets, one after another. */
let framed: { readonly message: Uint8Array; readonly frame: Buffer } | undefined

function frameOf(message: Uint8Array): Buffer {
  if (framed?.message !== message) framed = { message, frame: binaryFrame(message) }
  return framed.frame
}

/** Ends a closing socket whose peer does not answer in time. */
function terminateLate(webSocket: WebSocket): void {
  const timer = setTimeout(() => webSocket.terminate(), CLOSE_MS)
  timer.unref()
  webSocket.once('close', () => clearTimeout(timer))
}

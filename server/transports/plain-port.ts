import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { listenError } from './listen-error.ts'
import { closesWithConnection } from './pipelined-responses.ts'
import { type HttpServer, NO_WEBSOCKET, type RequestTaker } from './transport.ts'

/** Maximum size of a request's headers, in bytes. */
const HEADERS_BYTES = 16_384
/** Time limit for the headers of a request, in milliseconds. */
export const HEADERS_MS = 5_000
/** Interval of the check for slow requests, in milliseconds. */
const LOOK_MS = 1_000
/** Time limit for a client to send a whole request with its body, in milliseconds. */
const REQUEST_MS = 30_000
/** Time limit for responses that are being sent when the port closes, in milliseconds. */
const CLOSING_MS = 500
/** How long a connection may be silent before the kernel asks whether its peer is still there, in milliseconds. */
const SILENT_MS = 10_000

/** An HTTP server of Node on a port of its own. Upgrades are left to who listens for them. */
export class PlainPort {
  readonly server: Server
  /** The responses that are not sent yet. */
  readonly #open = new Set<ServerResponse>()

  /**
   * @param take Undefined: every plain request is answered with 426.
   * @param headersMs Time limit for the headers of a request.
   */
  constructor(take: RequestTaker | undefined, headersMs: number = HEADERS_MS) {
    this.server = createServer(
      {
        maxHeaderSize: HEADERS_BYTES,
        headersTimeout: headersMs,
        requestTimeout: take ? Math.max(headersMs, REQUEST_MS) : headersMs,
        connectionsCheckingInterval: Math.min(LOOK_MS, headersMs),
        keepAlive: true,
        keepAliveInitialDelay: SILENT_MS,
      },
      (request, response) => this.#answer(request, response, take, false),
    )
    if (take) this.server.on('checkContinue', (request, response) => this.#answer(request, response, take, true))
  }

  /** @throws MillraceError `unavailable` when it cannot listen there. */
  async listen({ port, host }: { port: number; host: string }): Promise<{ port: number }> {
    const { server } = this
    await new Promise<void>((resolve, reject) => {
      const failed = (cause: NodeJS.ErrnoException): void => reject(listenError(cause, host, port))
      server.once('error', failed)
      server.listen(port, host, () => {
        server.off('error', failed)
        resolve()
      })
    })
    return { port: (server.address() as AddressInfo).port }
  }

  /** Accepts no more connections. Those that are open stay open. */
  stopAccepting(): void {
    this.server.close()
  }

  /** Frees the port. Responses that are being sent have a time limit. */
  async close(ms: number = CLOSING_MS): Promise<void> {
    const { server } = this
    server.close()
    await this.#sent(ms)
    server.closeAllConnections()
    if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()))
  }

  #answer(
    request: IncomingMessage,
    response: ServerResponse,
    take: RequestTaker | undefined,
    awaitsContinue: boolean,
  ): void {
    closesWithConnection(request, response)
    this.#open.add(response)
    response.once('close', () => this.#open.delete(response))
    const place = { prefix: '', listensAt: addressOf(this.server), isOnly: true, awaitsContinue }
    if (take?.(request, response, place) !== true)
      response.writeHead(426, { 'content-type': 'text/plain' }).end(NO_WEBSOCKET)
  }

  async #sent(ms: number): Promise<void> {
    if (this.#open.size === 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      const look = (): void => {
        if (this.#open.size > 0) return
        clearTimeout(timer)
        resolve()
      }
      for (const response of this.#open) response.once('close', look)
    })
  }
}

type Emit = (event: string, ...values: unknown[]) => boolean

type Listener = (request: object, response: object) => void
/** Marks the listeners of this module, also in another copy of it. */
const PROCEEDS = Symbol.for('millrace.proceeds')
/** What is used of an HTTP server of Node besides its contract for upgrades. */
type Emitting = {
  emit: Emit
  listenerCount(event: string): number
  listeners(event: string): readonly object[]
  on(event: string, listener: Listener): unknown
  off(event: string, listener: Listener): unknown
}

/** The takers of an HTTP server by path, the `emit` that asks them, and who tells clients of others to continue. */
type Taken = { readonly takers: Map<string, RequestTaker>; readonly emit: Emit; readonly proceed: Listener }

const takenOf = new WeakMap<HttpServer, Taken>()

/**
 * Passes plain requests below a path of an HTTP server of the application to `take`. Whatever it does not take goes to the
 * listeners of the server, as before.
 *
 * A listener cannot keep a request from the others, and others may be added later. So this stands in front of all of
 * them, in `emit`.
 * @param path A path that begins with `/`.
 * @returns A function that releases the path.
 */
export function takeRequests(server: HttpServer, path: string, take: RequestTaker): () => void {
  const prefix = path.replace(/\/+$/, '')
  const { takers } = takenOf.get(server) ?? standBefore(server)
  takers.set(prefix, take)
  return () => {
    takers.delete(prefix)
    const taken = takenOf.get(server)
    if (takers.size > 0 || !taken) return
    takenOf.delete(server)
    const emitting = server as unknown as Partial<Emitting> & Pick<Emitting, 'off'>
    emitting.off('checkContinue', taken.proceed)
    // Whoever replaced it after us has ours inside: it then asks no taker.
    if (emitting.emit === taken.emit) delete emitting.emit
  }
}

function standBefore(server: HttpServer): Taken {
  const emitting = server as unknown as Emitting
  const takers = new Map<string, RequestTaker>()
  const before = emitting.emit
  const emit: Emit = (event, ...values) => {
    const awaitsContinue = event === 'checkContinue'
    if (event === 'request' || awaitsContinue) {
      const [request, response] = values as [IncomingMessage, ServerResponse]
      const isOnly = emitting.listenerCount('request') === 0
      for (const [prefix, take] of takers) {
        if (!take(request, response, { prefix, listensAt: addressOf(server), isOnly, awaitsContinue })) continue
        closesWithConnection(request, response)
        return true
      }
    }
    return before.call(emitting, event, ...values)
  }
  // Without a listener, Node tells every client to continue before it asks anybody. Another copy of this module may have
  // one here as well: the first one does it.
  const proceed = Object.assign(
    (request: object, response: object): void => {
      const [first, ...others] = emitting.listeners('checkContinue')
      if (first !== proceed || others.some((other) => !(PROCEEDS in other))) return
      ;(response as ServerResponse).writeContinue()
      emitting.emit('request', request, response)
    },
    { [PROCEEDS]: true },
  )
  emitting.on('checkContinue', proceed)
  const taken = { takers, emit, proceed }
  takenOf.set(server, taken)
  emitting.emit = emit
  return taken
}

function addressOf(server: HttpServer): string | undefined {
  const bound = server.address?.()
  return typeof bound === 'object' ? bound?.address : undefined
}

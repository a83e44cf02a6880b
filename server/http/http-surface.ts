import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { OriginCheck } from '../connections/origin.ts'
import type { SocketCount } from '../connections/socket-count.ts'
import { noteLimit } from '../logging/limit-errors.ts'
import type { ServerLog } from '../logging/logger.ts'
import type { UpgradeRequest } from '../transports/transport.ts'
import { Call, type Params } from './call.ts'
import { type Caller, type Callers, INSTANCE_HEADER } from './caller.ts'
import { errorHeaders, HttpError, problem } from './problem.ts'
import { type Route, RouteTable } from './route.ts'
import { positionOf } from './stream-position.ts'
import type { Tickets, TicketTarget } from './tickets.ts'

/** How long a browser may keep the answer to a preflight, in seconds. */
const PREFLIGHT_S = 600
const REQUEST_HEADERS = 'authorization, content-type, last-event-id, millrace-client'
const RESPONSE_HEADERS = 'location, retry-after, millrace-client, millrace-run, mcp-session-id'

/** The other end of a request, as far as the server knows it. */
export type Peer = {
  /** The IP address. Empty: unknown. */
  readonly remoteAddress?: string | undefined
  /** The address that the server is bound to. */
  readonly listensAt?: string | undefined
  /** The part of the path in front of the routes, such as `/api/agents`. Default: none. */
  readonly basePath?: string | undefined
  /** Calls back when the response was sent or its client has left. Default: when its body was read. */
  onClose?(closed: () => void): void
}

export type SurfaceParts = {
  readonly limits: Limits
  readonly log: ServerLog
  readonly origins: OriginCheck
  readonly sockets: SocketCount
  readonly callers: Callers
  readonly tickets: Tickets
  addressOf(request: UpgradeRequest): string
  report(error: unknown): void
}

/**
 * The server over plain HTTP, as a function from a request to its response. It checks where a request comes from and who
 * sends it, finds its route, and turns every error into an answer.
 */
export class HttpSurface {
  readonly #parts: SurfaceParts
  readonly #routes: RouteTable

  constructor(parts: SurfaceParts, routes: readonly Route[]) {
    this.#parts = parts
    this.#routes = new RouteTable(routes)
  }

  /** Whether a path, without its query, is one of this surface. */
  has(path: string): boolean {
    return this.#routes.has(path)
  }

  /** Answers a request. It never rejects. */
  async fetch(request: Request, peer: Peer = {}): Promise<Response> {
    const { origins, sockets, log } = this.#parts
    const facts = factsOf(request, peer)
    const address = this.#parts.addressOf(facts)
    const verdict = origins.verify(facts)
    // No headers of CORS: the page may not learn more.
    if (!verdict.ok) {
      const reason = 'reason' in verdict ? verdict.reason : verdict.message
      return this.#error(new MillraceError('forbidden', reason), request, peer)
    }
    const room = sockets.verify(address)
    if (!room.ok && !this.#isProbe(request, peer)) {
      log.write('limit.met', { address, reason: room.message })
      return this.#withCors(facts, this.#error(new MillraceError('overloaded', room.message), request, peer))
    }
    sockets.opened(address)
    let isOpen = true
    const closed = (): void => {
      if (isOpen) sockets.closed(address)
      isOpen = false
    }
    peer.onClose?.(closed)
    const answer = await this.#answer(request, facts, address, peer)
    const response = this.#withCors(facts, request.method === 'HEAD' ? await withoutBody(answer) : answer)
    if (peer.onClose) return response
    if (response.body) return new Response(watched(response.body, closed), response)
    closed()
    return response
  }

  #isProbe({ url }: Request, { basePath }: Peer): boolean {
    const path = pathWithin(new URL(url).pathname, basePath)
    return path !== undefined && this.#routes.isProbe(path)
  }

  async #answer(request: Request, facts: UpgradeRequest, address: string, peer: Peer): Promise<Response> {
    let caller: Caller | undefined
    try {
      const url = new URL(request.url)
      const path = pathWithin(url.pathname, peer.basePath)
      if (path === undefined) throw new HttpError(404, 'not_found', 'this path is outside the base path of the server')
      if (request.method === 'OPTIONS') return this.#preflight(path, facts)
      const found = this.#routes.match(request.method, path)
      caller = await this.#callerOf(found.route, found.params, facts, url)
      caller?.quota.takeRequest()
      const response = await found.route.handle(new Call(request, url, found.params, facts, caller, this.#parts.limits))
      if (caller?.given !== undefined) response.headers.set(INSTANCE_HEADER, caller.given)
      return response
    } catch (error) {
      return this.#error(this.#refusal(error, caller, address), request, peer)
    }
  }

  /** Who sends a request: nobody in particular where a route is for anybody. */
  async #callerOf(
    { access = 'principal', instanceHeader }: Route,
    { run, actor }: Params,
    facts: UpgradeRequest,
    url: URL,
  ): Promise<Caller | undefined> {
    if (access === 'anybody' || access === 'probe') return undefined
    const { callers, tickets } = this.#parts
    const ticket = url.searchParams.get('ticket')
    if (ticket === null) return await callers.identify(facts, instanceHeader)
    const target: TicketTarget | undefined = run === undefined ? (actor === undefined ? undefined : { actor }) : { run }
    if (access !== 'ticket' || !target)
      throw new MillraceError('unauthenticated', 'this path takes no tickets: send Authorization: Bearer')
    const resume = positionOf(facts.headers.get('last-event-id') ?? '')?.tail
    return callers.ofTicket(tickets.use(ticket, target, resume))
  }

  #preflight(path: string, { headers }: UpgradeRequest): Response {
    const methods = this.#routes.methods(path)
    if (methods.length === 0) throw new HttpError(404, 'not_found', 'there is nothing at this path')
    return new Response(null, {
      status: 204,
      headers: {
        allow: methods.join(', '),
        'access-control-allow-methods': methods.join(', '),
        // Whatever a page of an allowed origin may send, it may send in any header.
        'access-control-allow-headers': headers.get('access-control-request-headers') ?? REQUEST_HEADERS,
        'access-control-max-age': String(PREFLIGHT_S),
      },
    })
  }

  /** What a client is told of an error, which the log has as well. */
  #refusal(error: unknown, caller: Caller | undefined, address: string): MillraceError {
    const { log } = this.#parts
    const isOwn = MillraceError.is(error)
    if (!isOwn || (error.cause !== undefined && error.code !== 'unavailable')) this.#parts.report(error)
    const refusal = MillraceError.from(error, 'internal', 'the server failed to answer this request')
    const { code } = refusal
    const who = { address, ...(caller && { principal: caller.principal.id }) }
    if (!noteLimit(log, refusal, who) && code === 'unauthenticated')
      log.write('connection.refused', { ...who, code, over: 'http' })
    return refusal
  }

  /** An error in the form that the clients of a path know. */
  #error(error: MillraceError, { url }: Request, { basePath }: Peer): Response {
    const path = pathWithin(new URL(url).pathname, basePath)
    const form = path === undefined ? undefined : this.#routes.errorsAt(path)
    if (!form) return problem(error, this.#parts.limits)
    const response = form(error)
    for (const [name, value] of Object.entries(errorHeaders(error))) response.headers.set(name, value)
    return response
  }

  /** Lets the page of an allowed origin read the answer. */
  #withCors({ origin }: UpgradeRequest, response: Response): Response {
    const { headers } = response
    headers.append('vary', 'Origin')
    headers.set('x-content-type-options', 'nosniff')
    if (origin === undefined) return response
    headers.set('access-control-allow-origin', origin)
    headers.set('access-control-allow-credentials', 'true')
    headers.set('access-control-expose-headers', RESPONSE_HEADERS)
    return response
  }
}

/** A request as the checks of an upgrade see it. */
function factsOf({ url, headers }: Request, { remoteAddress = '', listensAt }: Peer): UpgradeRequest {
  // Several Origin headers are joined, and match no list of allowed origins.
  return { url, headers: new Map(headers), origin: headers.get('origin') ?? undefined, remoteAddress, listensAt }
}

/** The part of a path behind the base. Undefined: it is not below it. */
function pathWithin(path: string, base = ''): string | undefined {
  const root = base.replace(/\/+$/, '')
  return path.startsWith(`${root}/`) ? path.slice(root.length) : undefined
}

/** The same answer as HEAD has it. */
async function withoutBody(answer: Response): Promise<Response> {
  const headers = new Headers(answer.headers)
  if (answer.body) headers.set('content-length', `${(await answer.arrayBuffer()).byteLength}`)
  return new Response(null, { status: answer.status, headers })
}

/** The same body, which reports once that it was read to its end, or will not be. */
function watched(body: ReadableStream<Uint8Array>, over: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read()
          if (done) {
            over()
            controller.close()
          } else controller.enqueue(value)
        } catch (error) {
          over()
          controller.error(error)
        }
      },
      async cancel(reason) {
        over()
        await reader.cancel(reason)
      },
    },
    { highWaterMark: 0 },
  )
}

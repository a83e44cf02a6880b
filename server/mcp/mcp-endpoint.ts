import { createMcpHandler } from '@modelcontextprotocol/server'
import { type ErrorCode, MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Call } from '../http/call.ts'
import { CallerRuns } from '../http/caller-runs.ts'
import type { ExtensionParts, HttpExtension, OpenExtension } from '../http/extension.ts'
import { takeConnection } from '../http/open-streams.ts'
import { statusOf } from '../http/problem.ts'
import type { Route } from '../http/route.ts'
import { type ActorServerUser, actorServer } from './actor-server.ts'
import { OpenCalls } from './open-calls.ts'
import { readInTime } from './read-in-time.ts'

/** The options of `mcp`. */
export type McpOptions = {
  /** The name of the server, as its clients show it. Default `millrace`. */
  name?: string | undefined
  /** The version of the server, as its clients show it. Default `1.0.0`. */
  version?: string | undefined
}

const OPTIONS: OptionKinds<McpOptions> = { name: 'a string', version: 'a string' }
const PATH = '/mcp'
/** The header of the older protocol with the name of a session. Here it names the client instance as well. */
const SESSION_HEADER = 'mcp-session-id'
const INITIALIZE = 'initialize'
const CANCELLED = 'notifications/cancelled'
/** How many messages of progress may be ahead of what the client has read. More are left out. */
const PROGRESS_AHEAD = 64
/** Codes of JSON-RPC. */
const RPC_CODES: { readonly [code in ErrorCode]?: number } = { bad_request: -32_600, internal: -32_603 }
const OTHER = -32_000

/**
 * Serves the actors of a server as tools of the Model Context Protocol, at `/mcp` over plain HTTP:
 * `createServer({ actors, authenticate, http: { mcp: mcp() } })`. Each client sees the actors that it may start, and has
 * the runs of its principal. It needs the package `@modelcontextprotocol/server`.
 * @throws MillraceError `bad_request` for an unknown or invalid option.
 */
export function mcp(options: McpOptions = {}): HttpExtension {
  checkOptions('mcp', options, OPTIONS)
  const { name = 'millrace', version = '1.0.0' } = options
  return { open: (parts) => openEndpoint(parts, { name, version }) }
}

function openEndpoint(parts: ExtensionParts, identity: { name: string; version: string }): OpenExtension {
  const { runtime, limits, permissions, access } = parts
  const make = actorServer(parts.actors, identity)
  const users = new WeakMap<Request, ActorServerUser>()
  const calls = new OpenCalls()
  const handler = createMcpHandler(({ requestInfo }) => make(users.get(requestInfo!)!))

  async function answer(call: Call): Promise<Response> {
    const { caller, request } = call
    const { value } = await call.json()
    // As deep and as many values as a frame may have, before a validator of schemas sees them.
    access.check(value)
    const session = sessionOf(call)
    if (session !== undefined) stopCancelled(session, value)
    const progress = { sent: 0, taken: 0 }
    const release = takeConnection(caller.quota)
    users.set(request, {
      client: new CallerRuns(parts, caller),
      mayStart: (actor) => permissions.allows(caller.principal, 'start', { type: 'actor', actor }),
      called: (id, signal) => (session === undefined ? { signal, over: () => {} } : calls.begin(session, id, signal)),
      // Its answer is a result, with status 200.
      failed: (error) => access.noteLimit(caller, error, 'mcp'),
      takesProgress: () => progress.sent - progress.taken < PROGRESS_AHEAD && ++progress.sent > 0,
    })
    let body: ReadableStream<Uint8Array> | null = null
    try {
      const response = await handler.fetch(request, { parsedBody: value })
      const headers = new Headers(response.headers)
      const named = caller.given ?? caller.instance
      if (isInitialize(value) && response.ok && named !== undefined) headers.set(SESSION_HEADER, named)
      body =
        response.body &&
        readInTime(response.body, runtime, limits.slowMs, { took: () => progress.taken++, over: release })
      return new Response(body, { status: response.status, headers })
    } finally {
      if (!body) release()
    }
  }

  /** The session of a request. Its id says nothing without the principal. */
  function sessionOf(call: Call): string | undefined {
    const id = call.header(SESSION_HEADER)
    return id === undefined ? undefined : `${id.toLowerCase()} ${call.caller.principal.id}`
  }

  function stopCancelled(session: string, body: unknown): void {
    for (const message of Array.isArray(body) ? body : [body]) {
      const { method, params } = Object(message) as { method?: unknown; params?: { requestId?: unknown } }
      if (method === CANCELLED && params?.requestId !== undefined) calls.stop(session, params.requestId)
    }
  }

  function leave(call: Call): Response {
    const session = sessionOf(call)
    if (session === undefined) throw new MillraceError('bad_request', `name a session in ${SESSION_HEADER}`)
    calls.stop(session)
    return new Response(null, { status: 204 })
  }

  const route = { path: PATH, instanceHeader: SESSION_HEADER, errors: rpcError } as const
  const routes: Route[] = [
    { ...route, method: 'POST', handle: answer },
    { ...route, method: 'DELETE', handle: leave },
  ]
  return { routes, close: () => void handler.close() }
}

function isInitialize(body: unknown): boolean {
  return (Object(body) as { method?: unknown }).method === INITIALIZE
}

/** An error as JSON-RPC has it. */
function rpcError(error: MillraceError): Response {
  const { code, message } = error
  const body = { jsonrpc: '2.0', id: null, error: { code: RPC_CODES[code] ?? OTHER, message, data: { code } } }
  return Response.json(body, { status: statusOf(error) })
}

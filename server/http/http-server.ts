import type { IncomingMessage, ServerResponse } from 'node:http'
import { MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { Actor } from '../actors/actor.ts'
import type { EarlyBytes } from '../connections/early-bytes.ts'
import type { OriginCheck } from '../connections/origin.ts'
import type { SocketCount } from '../connections/socket-count.ts'
import type { ServerLog } from '../logging/logger.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Authenticate } from '../sessions/auth.ts'
import type { Permissions } from '../sessions/permissions.ts'
import type { Registry } from '../sessions/registry.ts'
import type { RequestTaker, Socket, SocketEvents, UpgradeRequest } from '../transports/transport.ts'
import { actorRoutes } from './actor-routes.ts'
import { agUiRoutes } from './ag-ui-routes.ts'
import { AiSdkChats } from './ai-sdk-chats.ts'
import { aiSdkRoutes } from './ai-sdk-routes.ts'
import { Callers } from './caller.ts'
import { ChatRuns } from './chat-runs.ts'
import { ChatSocket, chatActor } from './chat-socket.ts'
import type { HttpExtension } from './extension.ts'
import { healthRoutes } from './health-routes.ts'
import { HttpSurface } from './http-surface.ts'
import { metricsRoute } from './metrics-route.ts'
import { answerOnNode } from './node-adapter.ts'
import { OpenStreams } from './open-streams.ts'
import { openAiRoutes } from './openai/openai-routes.ts'
import { openApiRoute } from './openapi.ts'
import type { Route } from './route.ts'
import { RunAccess } from './run-access.ts'
import { runRoutes } from './run-routes.ts'
import { ticketRoutes } from './ticket-routes.ts'
import { Tickets } from './tickets.ts'

/** The option `http` of `createServer`. */
export type HttpOptions = {
  /**
   * Names of the actors that `GET /actors/NAME/stream?input=` starts, for a page with an `EventSource`. A GET can come
   * from a link, so name only actors that may be started by one. Default: none.
   */
  eventSource?: readonly string[] | undefined
  /** Serves the actors as tools of the Model Context Protocol at `/mcp`: `mcp()` of `millrace/server/mcp`. Default: none. */
  mcp?: HttpExtension | undefined
  /**
   * Shows the server in a browser, at `/`: `dashboard()` of `millrace/server/dashboard`. With an `httpPort`, that port takes
   * the WebSockets of the page, too. Default: none.
   */
  dashboard?: HttpExtension | undefined
}

const OPTIONS: OptionKinds<HttpOptions> = { eventSource: 'a list', mcp: 'an object', dashboard: 'an object' }

/** What plain HTTP takes from the server. */
export type HttpParts = {
  readonly runtime: Runtime
  readonly limits: Limits
  readonly log: ServerLog
  readonly registry: Registry
  readonly authenticate: Authenticate
  readonly origins: OriginCheck
  readonly sockets: SocketCount
  readonly actors: ReadonlyMap<string, Actor>
  readonly permissions: Permissions
  readonly earlyBytes: EarlyBytes
  addressOf(request: UpgradeRequest): string
  report(error: unknown): void
  /** Why the server can take no run now. Undefined: it can. */
  notReady(): MillraceError | undefined
  /** One of the streams is over. */
  streamOver(): void
  readonly metrics: Metrics | undefined
}

/** A server over plain HTTP: its routes, and what is open. */
export type HttpServerParts = {
  /**
   * Takes a socket of the AI SDK's own client. Undefined: it is none.
   * @param closed the socket is closed.
   */
  takeSocket(socket: Socket, closed: () => void): SocketEvents | undefined
  /** The sockets that it took. */
  readonly sockets: ReadonlySet<ChatSocket>
  readonly surface: HttpSurface
  readonly streams: OpenStreams
  /** Answers requests of an HTTP server of Node. */
  readonly takeRequest: RequestTaker
  /** Forgets all tickets, and closes what else is open. */
  close(): void
}

/**
 * Puts plain HTTP together.
 * @throws MillraceError `bad_request` for an unknown or invalid option, or an actor that the server does not have.
 */
export function httpServer(parts: HttpParts, options: HttpOptions): HttpServerParts {
  checkOptions('http', options, OPTIONS)
  const { runtime, limits, log, registry } = parts
  const names = new Set(parts.actors.keys())
  for (const name of options.eventSource ?? []) {
    if (!names.has(name))
      throw new MillraceError(
        'bad_request',
        `http.eventSource: unknown actor ${name}; known actors: ${[...names].join(', ')}`,
      )
  }
  const streams = new OpenStreams(runtime, limits, () => parts.streamOver())
  const tickets = new Tickets(runtime, limits)
  const access = new RunAccess({ runtime, limits, log, registry, streams })
  const chats = new ChatRuns(access, runtime)
  const aiSdk = new AiSdkChats(chats)
  const routes: Route[] = [
    ...runRoutes({ runtime, access, streams }),
    ...actorRoutes(access, new Set(options.eventSource)),
    ...ticketRoutes(access, tickets),
    ...aiSdkRoutes(access, aiSdk),
    ...agUiRoutes(access, chats),
    ...healthRoutes(() => parts.notReady()),
  ]
  const extensions = (['mcp', 'dashboard'] as const).flatMap((name) => {
    const extension = options[name]
    if (extension !== undefined && typeof extension.open !== 'function')
      throw new MillraceError('bad_request', `http.${name} must be what ${name}() of millrace/server/${name} returns`)
    return extension ? [extension.open({ ...parts, access })] : []
  })
  const callers = new Callers(parts)
  const sockets = new Set<ChatSocket>()
  const openAi = openAiRoutes({ ...parts, access })
  const { metrics, permissions } = parts
  const ofMetrics = metrics ? [metricsRoute({ metrics, callers, permissions })] : []
  const surface = new HttpSurface({ ...parts, callers, tickets }, [
    ...[...routes, ...openAi, ...ofMetrics, openApiRoute(routes)],
    ...extensions.flatMap((extension) => extension.routes),
  ])
  const node = { slowMs: limits.slowMs, runtime, report: (error: unknown) => parts.report(error) }
  return {
    sockets,
    takeSocket(socket, closed) {
      const actor = chatActor(socket.request.url)
      if (actor === undefined || !hasText(socket)) return undefined
      const chat = new ChatSocket(socket, actor, {
        ...{ ...parts, callers, tickets, access, chats: aiSdk },
        closed(gone) {
          sockets.delete(gone)
          closed()
        },
      })
      sockets.add(chat)
      return chat
    },
    surface,
    streams,
    takeRequest: (request, response, place) =>
      answerOnNode(surface, node, request as IncomingMessage, response as ServerResponse, place),
    close() {
      tickets.close()
      for (const extension of extensions) extension.close()
    },
  }
}

function hasText(socket: Socket): socket is Socket & Required<Pick<Socket, 'sendText'>> {
  return socket.sendText !== undefined
}

/// <reference lib="esnext.disposable" preserve="true" />
import type { ActorMap } from '../protocol/actors.ts'
import { CLOSE, MillraceError } from '../protocol/errors.ts'
import { checkOptions } from '../protocol/options.ts'
import type { Actor } from './actors/actor.ts'
import { checkPool } from './actors/remote.ts'
import type { ServerView } from './actors/server-view.ts'
import { Connection, type ConnectionOptions } from './connections/connection.ts'
import { EarlyBytes } from './connections/early-bytes.ts'
import { FlushQueue } from './connections/flush-queue.ts'
import { OriginCheck } from './connections/origin.ts'
import { SocketCount } from './connections/socket-count.ts'
import { CHAT_PATH } from './http/chat-socket.ts'
import { httpServer } from './http/http-server.ts'
import type { Peer } from './http/http-surface.ts'
import { ServerLog } from './logging/logger.ts'
import { writeError } from './logging/stderr-logger.ts'
import type { Metrics } from './metrics/metrics.ts'
import { type ModelRegistry, modelRegistry } from './models/model-registry.ts'
import { Notices } from './notices/notices.ts'
import { Closing } from './process/closing.ts'
import { errorReport } from './process/error-report.ts'
import { memoryWatch } from './process/memory-watch.ts'
import { createRouter, type Router } from './router.ts'
import { GuardedRuntime, KeepAlive, nodeRuntime } from './runtime.ts'
import {
  CLOSE_OPTIONS,
  type CloseOptions,
  checkServerOptions,
  DEFAULT_SLOTS,
  NEEDS_POOLS,
  type ServerOptions,
  WORK_OPTIONS,
  type WorkOptions,
} from './server-options.ts'
import { clientAddress } from './sessions/client-address.ts'
import { defaultAuthorize, Permissions } from './sessions/permissions.ts'
import { Registry } from './sessions/registry.ts'
import { Sessions } from './sessions/sessions.ts'
import { excerpt, wellFormed } from './text.ts'
import { PlainPort } from './transports/plain-port.ts'
import type { HttpServer, SocketAcceptor, TransportLimits, UpgradeRequest } from './transports/transport.ts'
import { ws } from './transports/ws.ts'

const DEFAULT_PORT = 7400
const DEFAULT_DRAIN_MS = 10_000
const MAX_REASON_CHARACTERS = 120

/** A server of actors. Made by `createServer`. */
export interface MillraceServer<Actors extends ActorMap> extends AsyncDisposable {
  /** Calls actors from inside this process. */
  readonly router: Router<Actors>
  /** Runs that have not settled. */
  readonly liveRuns: number
  /** Open connections. */
  readonly connections: number
  /**
   * Frees the slot of a run that has ended and does not settle, because its actor or a tool ignores its signal. The code
   * cannot be stopped, and may go on. The end of the run stays as it is.
   * @param run The id of the run.
   * @returns what may go on: `actor`, `provider`, and ids of tool calls and children.
   * @throws MillraceError `not_found` when no run of this id takes a slot; `bad_request` when it has not ended: cancel it
   *   first.
   */
  release(run: string): string[]
  /**
   * Listens on a port of its own.
   * @param port Default 7400. 0 takes a free port.
   * @param host Default 127.0.0.1. `0.0.0.0` is every address of the machine.
   * @throws MillraceError `unavailable` when the address is in use, or is not one of this machine. `bad_request` when
   * the server listens already, and when `close` is called before or during it.
   * @returns the port, and the address for clients. `httpUrl`: the address of plain HTTP, if it is served.
   */
  listen(port?: number, host?: string): Promise<{ port: number; url: string; httpUrl?: string }>
  /**
   * Takes the WebSockets of one path of an existing HTTP server: of `node:http` or `node:https`, the result of
   * Express's `listen`, Fastify's `server`, or the result of `serve` from `@hono/node-server`. The HTTP server keeps
   * its other paths and its requests. You may attach to several servers and paths, with or without `listen`. `close`
   * detaches from the HTTP server and does not close it.
   * @param options.path The path exactly as clients name it, without a query: `/agents`.
   * @throws MillraceError `bad_request` for an invalid path, for one that is attached already, for a transport that
   * cannot be attached, and once `close` was called.
   */
  attach(httpServer: HttpServer, options: { path: string }): void
  /**
   * Answers one request over plain HTTP, for servers that hand requests to a function: routes of Next, `Bun.serve`, Hono.
   * It needs neither `listen` nor the option `http`, and never rejects.
   * @param request The request. Its URL is matched behind `basePath`.
   * @param peer What is known of the client: its address, and the base path. Without an address, limits per address do
   *   not apply.
   */
  fetch(request: Request, peer?: Peer): Promise<Response>
  /**
   * Takes runs from a pool and executes them, from now on until `close`, and keeps the process alive. They are runs of
   * actors that other servers have as `remote(...)`. It needs a store that servers share, such as `redis({ url })`, and
   * no `listen`. A server works for one pool.
   * @returns a promise that resolves when the worker is ready.
   * @throws MillraceError `bad_request` for a wrong option, without such a store, when it works already, and once
   *   `close` was called; `store_unavailable`.
   */
  work(options: WorkOptions): Promise<void>
  /**
   * Shuts the server down. It accepts no new connection or run, and sends GOAWAY to all clients. Live runs go on for
   * `drainMs`, then end as `interrupted`. Connections are closed with 4503, and the promise resolves. A second call
   * shortens the wait to its own `drainMs`.
   * @throws MillraceError `bad_request` when `drainMs` is not a number of at least 0, or `reason` is not a string. The
   * server then goes on.
   */
  close(options?: CloseOptions): Promise<void>
}

/**
 * Creates a server, which listens once `listen` is called.
 * @throws MillraceError `bad_request` for an unknown or invalid option, limits that do not fit together, no actors, no
 * `authenticate`, an entry of `origins` that no browser sends, or an agent whose model the server does not have.
 */
export function createServer<const Actors extends ActorMap>(options: ServerOptions<Actors>): MillraceServer<Actors> {
  const { actors, limits, durability, transport, logger, httpOn } = checkServerOptions(options)
  const { name, store, metrics, notify, tracing } = options
  const runtime = new GuardedRuntime(options.runtime ?? nodeRuntime, (error) => report(error, {}))
  const observe = metrics && ((...record: Parameters<Metrics['record']>): void => metrics.record(...record))
  const log = new ServerLog(runtime, logger, (error) => writeError({ err: error }), observe)
  const report = errorReport(log, options.onError)
  const opened = (): Promise<void> => registry.open()
  const notices: Notices | undefined =
    notify && new Notices({ runtime, log, target: notify, store, server: name, opened })
  const models = modelRegistry({
    ...(options.defaultModel ? { default: options.defaultModel } : {}),
    models: options.models ?? [],
    ...(options.providers && { providers: options.providers }),
  })
  const permissions = new Permissions(options.authorize ?? defaultAuthorize, (error) => report(error, {}))
  const sessions = new Sessions(runtime, limits)
  const isShort = memoryWatch(runtime)
  const registry: Registry = new Registry({
    runtime,
    limits,
    log,
    actors,
    permissions,
    notices,
    tracing,
    storage: store && { store, durability },
    findModel: (which) => models.find(which),
    overloaded: isShort,
    actorFailed: ({ id, actorName, isChild, registeredName }, error) =>
      report(error, { actor: actorName, run: id }, isChild ? { registered: registeredName } : undefined),
    runChanged: () => closing.check(),
    ended: (run) => sessions.ended(run),
  })
  const connections = new Set<Connection>()
  const plainPort = options.httpPort === undefined ? undefined : new PlainPort((...asked) => http.takeRequest(...asked))
  /** Takes the WebSockets of pages that come from that port. */
  const pageSockets = plainPort && typeof options.http === 'object' && options.http.dashboard ? ws() : undefined
  let binding: Promise<unknown> | undefined
  const closing = new Closing(runtime, {
    ports: [transport, pageSockets, plainPort].filter((port) => port !== undefined),
    clients: () => [connections, http.streams, http.sockets],
    registry,
    sessions,
    cancelGraceMs: limits.cancelGraceMs,
    closeNotices: () => notices?.close(),
    closeActors: () => Promise.all([...actors].map(([actor, { close }]) => closeActor(actor, close))),
    binding: () => binding,
  })
  const closeActor = async (actor: string, close: Actor['close']): Promise<void> => {
    await close?.().catch((error: unknown) => report(error, { actor }))
  }
  const sockets = new SocketCount(limits)
  const addressOf = (request: UpgradeRequest): string => clientAddress(request, options.trustProxy ?? false)

  const view: ServerView = {
    runtime,
    limits,
    get leaving() {
      return closing.leaving !== undefined
    },
    findModel: (which) => models.find(which),
    permits: (principal, action, target) => permissions.allows(principal, action, target),
    runs: () => registry.live,
    run: (id) => registry.run(id),
    forget: (runs) => registry.forget(runs),
    removeStored: (id) => registry.removeStored(id),
    ...(options.store?.shared && {
      shared: {
        store: options.store,
        goesOn: (id) => registry.goesOn(id),
        live: (most) => registry.liveElsewhere(most),
        summary: (id) => registry.summaryElsewhere(id),
        children: (server, known, signal) => registry.childrenElsewhere(server, known, signal),
        whenStored: (id) => registry.whenStored(id),
        follow: (id, changed) => registry.follow(id, changed),
      },
    }),
    sessions: () => sessions,
  }
  for (const [name, actor] of actors) actors.set(name, registered(name, actor, view, models))

  const flushes = new FlushQueue(runtime)
  const earlyBytes = new EarlyBytes(limits)
  const connectionOptions: ConnectionOptions = {
    runtime,
    flushes,
    limits,
    log,
    registry,
    sessions,
    authenticate: options.authenticate,
    addressOf,
    earlyBytes,
    server: name,
    leaving: () => closing.leaving,
    report: (error) => report(error, {}),
    closed: (gone) => {
      connections.delete(gone)
      closing.check()
    },
    socketClosed: (address) => sockets.closed(address),
    streamOver: () => closing.check(),
  }

  const { origins, trustProxy } = options
  const originCheck = new OriginCheck({ origins, trustProxy }, (refusal) => log.write('origin.refused', refusal))

  const http = httpServer(
    {
      runtime,
      limits,
      log,
      registry,
      authenticate: options.authenticate,
      origins: originCheck,
      sockets,
      actors,
      permissions,
      earlyBytes,
      addressOf,
      report: (error) => report(error, {}),
      notReady: () => registry.notReady,
      streamOver: () => closing.check(),
      metrics,
    },
    typeof options.http === 'object' ? options.http : {},
  )

  metrics?.begin({
    runtime,
    limits: { ...limits },
    runs: () => registry.live,
    sessions: () => view.sessions(),
    get connections() {
      return connections.size
    },
    get streams() {
      return http.streams.size + http.sockets.size
    },
    get pendingNotices() {
      return notices?.pending ?? 0
    },
    get endedRuns() {
      return registry.ended.size
    },
    get endedBytes() {
      return registry.ended.bytes
    },
    get isShort() {
      return isShort()
    },
  })

  const acceptor: SocketAcceptor = {
    takeRequest: httpOn && !plainPort ? http.takeRequest : undefined,
    subpaths: httpOn ? [CHAT_PATH] : [],
    verify(request) {
      const verdict = originCheck.verify(request)
      if (!verdict.ok) return verdict
      const address = addressOf(request)
      const room = sockets.verify(address)
      if (!room.ok) log.write('limit.met', { address, reason: room.message })
      return room
    },
    accept(socket, subprotocol) {
      const address = addressOf(socket.request)
      const chat = httpOn ? http.takeSocket(socket, () => sockets.closed(address)) : undefined
      if (chat) {
        sockets.opened(address)
        return chat
      }
      const connection = new Connection(socket, address, connectionOptions)
      connections.add(connection)
      sockets.opened(address)
      // A close code, because a browser does not show the page an HTTP status.
      if (subprotocol === 'unknown')
        runtime.nextTurn(() => connection.fault(CLOSE.noSubprotocol, 'this server speaks millrace.v1'))
      return connection
    },
  }

  const transportLimits: TransportLimits = {
    maxMessage: limits.maxMessage,
    maxBuffered: limits.highWater * 4 + limits.maxDown,
    silentMs: limits.heartbeatMs + limits.pongMs,
  }

  if (plainPort) pageSockets?.attach?.(acceptor, transportLimits, plainPort.server, '/')

  async function bindPorts(port: number, host: string): Promise<Bound> {
    if (!plainPort) {
      const bound = await transport.listen(acceptor, transportLimits, { port, host })
      return { ...bound, httpPort: acceptor.takeRequest && transport.takesRequests ? bound.port : undefined }
    }
    // First, because this port can be given back, and that of a transport may not.
    const { port: httpPort } = await plainPort.listen({ port: options.httpPort ?? 0, host })
    try {
      return { ...(await transport.listen(acceptor, transportLimits, { port, host })), httpPort }
    } catch (error) {
      await plainPort.close()
      throw error
    }
  }

  const openStore = (isNeeded: boolean): Promise<void> =>
    options.startWithoutStore ? registry.openInTime(isNeeded) : registry.open()

  let listening: Promise<unknown> | undefined
  let working: Promise<void> | undefined
  const alive = new KeepAlive()
  return {
    router: createRouter(registry, actors, limits),
    get liveRuns() {
      return registry.live.size
    },
    get connections() {
      return connections.size
    },
    release: (run) => registry.release(run),
    fetch: (request, peer) => http.surface.fetch(request, peer),
    async listen(port = DEFAULT_PORT, address = '127.0.0.1') {
      if (closing.leaving) throw new MillraceError('bad_request', 'this server is closed; create another one')
      if (listening)
        throw new MillraceError(
          'bad_request',
          'this server is already listening; create another one for another address',
        )
      const bind = (): Promise<Bound> => {
        if (closing.leaving) throw closedEarly()
        return bindPorts(port, address)
      }
      const begun = store ? openStore(false).then(bind) : bind()
      listening = binding = begun
      let bound: Bound
      try {
        bound = await begun
      } catch (error) {
        listening = undefined
        throw error
      } finally {
        binding = undefined
      }
      if (closing.leaving) throw closedEarly()
      notices?.stored()
      const url = `${transport.secure ? 'wss' : 'ws'}://${urlHost(address)}:${bound.port}`
      const httpUrl = bound.httpPort === undefined ? undefined : `http://${urlHost(address)}:${bound.httpPort}`
      const place = { url, ...(httpUrl === undefined ? {} : { httpUrl }) }
      log.write('server.listening', { ...place, host: address, port: bound.port, transport: transport.name })
      if (httpOn && httpUrl === undefined)
        log.write('http.off', { hint: `the transport ${transport.name} takes WebSockets only: set httpPort` })
      return { port: bound.port, ...place }
    },
    attach(httpServer, { path }) {
      if (closing.leaving) throw new MillraceError('bad_request', 'this server is closed; create another one to attach')
      if (!transport.attach) {
        throw new MillraceError(
          'bad_request',
          `the transport ${transport.name} has a port of its own and cannot be attached; leave it out, or use ws()`,
        )
      }
      transport.attach(acceptor, transportLimits, httpServer, path)
      registry.open().catch((error: unknown) => report(error, {}))
      notices?.stored()
    },
    async work(workOptions) {
      checkOptions('work', workOptions, WORK_OPTIONS)
      const { pool, slots = DEFAULT_SLOTS } = workOptions
      checkPool('work', pool)
      if (!Number.isSafeInteger(slots) || slots < 1)
        throw new MillraceError('bad_request', `work: slots must be a whole number of at least 1, not ${slots}`)
      if (!store?.shared?.pools) throw new MillraceError('bad_request', `work: ${NEEDS_POOLS}`)
      if (closing.leaving) throw new MillraceError('bad_request', 'this server is closed; create another one')
      if (working) throw new MillraceError('bad_request', 'this server works for a pool already; create another one')
      // Also while it waits for its store.
      alive.hold()
      working = openStore(true).then(() => registry.work(pool, slots))
      try {
        await working
      } catch (error) {
        working = undefined
        alive.release()
        throw error
      }
      notices?.stored()
      void closing.over.then(() => alive.release())
      log.write('worker.ready', { pool, slots })
    },
    async close(closeOptions = {}) {
      checkOptions('close', closeOptions, CLOSE_OPTIONS)
      const { drainMs = DEFAULT_DRAIN_MS, reason = 'shutdown' } = closeOptions
      if (typeof drainMs !== 'number' || !(drainMs >= 0))
        throw new MillraceError('bad_request', `drainMs must be a number of at least 0, not ${String(drainMs)}`)
      if (typeof reason !== 'string') throw new MillraceError('bad_request', 'the reason of a close must be a string')
      const first = !closing.leaving
      const said = wellFormed(excerpt(reason, MAX_REASON_CHARACTERS))
      if (first) log.write('server.closing', { reason: said, runs: registry.live.size, connections: connections.size })
      await closing.close(drainMs, said)
      flushes.close()
      http.close()
      if (first) log.write('server.closed')
      log.close()
    },
    [Symbol.asyncDispose]() {
      return this.close({ drainMs: 0 })
    },
  }
}

/** The ports that a server listens on. */
type Bound = { readonly port: number; readonly httpPort: number | undefined }

function closedEarly(): MillraceError {
  return new MillraceError('bad_request', 'this server was closed before it listened; create another one')
}

/**
 * The actor that runs under this name.
 * @throws MillraceError `bad_request` when it needs a model that the server does not have. The message names the actor.
 */
function registered(name: string, actor: Actor, view: ServerView, { models }: ModelRegistry): Actor {
  try {
    return actor.onRegister?.(view) ?? actor
  } catch (error) {
    if (!MillraceError.is(error, 'not_found')) throw error
    const ids = models.map(({ id }) => id)
    const known = `known models: ${ids.length > 0 ? ids.join(', ') : 'none'}`
    throw new MillraceError('bad_request', `actors.${name}: ${error.message}; ${known}`)
  }
}

function urlHost(address: string): string {
  if (address === '0.0.0.0' || address === '::') return '127.0.0.1'
  return address.includes(':') ? `[${address}]` : address
}

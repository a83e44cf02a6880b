import type { ActorMap } from '../protocol/actors.ts'
import { MillraceError } from '../protocol/errors.ts'
import { type Limits, resolveLimits } from '../protocol/limits.ts'
import { checkOptions, type OptionKinds } from '../protocol/options.ts'
import type { Runtime } from '../protocol/runtime.ts'
import type { Actor } from './actors/actor.ts'
import type { Authorize } from './actors/authorize.ts'
import type { HttpOptions } from './http/http-server.ts'
import { LEVELS, type Logger } from './logging/logger.ts'
import { stderrLogger } from './logging/stderr-logger.ts'
import type { Metrics } from './metrics/metrics.ts'
import type { Model } from './models/model.ts'
import type { ModelProvider } from './models/model-registry.ts'
import type { NoticeTarget } from './notices/notice-target.ts'
import type { ErrorHandler } from './process/error-report.ts'
import type { Durability } from './runs/journal.ts'
import { type Authenticate, anonymous, bearer, jwt } from './sessions/auth.ts'
import type { RunStore } from './stores/run-store.ts'
import { wellFormed } from './text.ts'
import type { Tracing } from './tracing/tracing.ts'
import type { Transport } from './transports/transport.ts'
import { ws } from './transports/ws.ts'

/** The functions that make an `authenticate`. One of them in its place would refuse, or admit, everybody. */
const MAKERS: ReadonlySet<unknown> = new Set([anonymous, bearer, jwt])
/** How many runs a worker executes at a time, unless it says otherwise. */
export const DEFAULT_SLOTS = 16
const MAX_NAME_CHARACTERS = 256

/** The options of `createServer`. */
export type ServerOptions<Actors extends ActorMap> = {
  /** Actors by name. */
  actors: Actors
  /** Identifies clients: `bearer`, `jwt`, a function of your own, or `anonymous()` to admit everybody. */
  authenticate: Authenticate
  /**
   * Decides what a principal may do: start an actor, read, answer or cancel a run, or see it in an inspector. Default:
   * `defaultAuthorize`, which lets every principal start every actor and do everything with its own runs.
   */
  authorize?: Authorize | undefined
  /** Models that actors may name by id. Default: only `defaultModel`. */
  models?: readonly Model[] | undefined
  /**
   * Providers that make models on demand: with `{ openai }`, actors may name every model of OpenAI as `openai:NAME`.
   * A key that is missing is reported when such a model is first named. Default: none.
   */
  providers?: { readonly [name: string]: ModelProvider } | undefined
  /** The model of agents that name no other. */
  defaultModel?: Model | undefined
  /** Limits that differ from the defaults. `createServer` checks them together. */
  limits?: { readonly [Name in keyof Limits]?: Limits[Name] | undefined } | undefined
  /**
   * Origins of the pages that may connect, besides pages of the host that they connect to. Scheme, host and port must
   * match exactly: `https://app.example.com`. Without `origins`, a server on a loopback address accepts only loopback
   * names as its host. Clients that are not browsers send no origin, and may connect. Default: none.
   */
  origins?: readonly string[] | undefined
  /**
   * true: a proxy in front of the server sets `X-Forwarded-Host` and `X-Forwarded-For`. The server takes the host of a
   * request, and the address of the client, from them: of the addresses the last one, which the proxy added. Set it only
   * if no client can reach the server past that proxy. Default false: `Host` and the address of the peer count.
   */
  trustProxy?: boolean | undefined
  /**
   * Keeps runs beyond this process: `sqlite({ path })` of `millrace/server/sqlite`. After a restart, clients read on
   * where they were. Default: runs are kept in memory only.
   */
  store?: RunStore | undefined
  /**
   * When clients are sent what a run logs, where there is a `store`. `eager`: at once. What was not stored when the
   * process dies is lost, and clients are told with a GAP. `logged`: once it is stored. Ends and accepted inputs always
   * wait for the store. Default `eager`.
   */
  durability?: Durability | undefined
  /**
   * true: a store that cannot be reached keeps the server from nothing but runs. `listen` listens, `/readyz` answers with
   * 503, and starts are refused (`store_unavailable`), until the store is there. `work` waits for it. What waiting does not
   * help, such as a wrong password, is an error as ever. Default false: `listen` and `work` fail.
   */
  startWithoutStore?: boolean | undefined
  /** Accepts the sockets. Default: `ws()`. */
  transport?: Transport | undefined
  /**
   * Serves runs over plain HTTP, too: on the port of the WebSockets, and below the path of each `attach`. An object has
   * its options. Default: false, unless `httpPort` is set.
   */
  http?: boolean | HttpOptions | undefined
  /**
   * A port of its own for plain HTTP, for a transport that takes WebSockets only, such as `uws`. 0 takes a free port.
   * Default: the port of the WebSockets.
   */
  httpPort?: number | undefined
  /** The server's name, which WELCOME sends to clients. At most 256 characters. */
  name?: string | undefined
  /**
   * Receives errors that clients must not see: those of an actor that threw, of a model, or of a check of credentials
   * that failed. `logger` receives them too. Default: none.
   */
  onError?: ErrorHandler | undefined
  /**
   * Receives what happens in the server: connections, refusals, limits that were met, starts and ends of runs, errors.
   * pino fits as it is. Default: warnings on stderr, one line each, and errors if there is no `onError`.
   */
  logger?: Logger | undefined
  /**
   * Counts what happens, for a monitoring system: `prometheus()` of `millrace/server/prometheus`. Plain HTTP answers
   * `GET /metrics` with them, to clients on the same machine and to principals that may inspect the server. Default: none.
   */
  metrics?: Metrics | undefined
  /**
   * Tells a program of yours when a run ends, needs somebody, or has used up its budget: `webhook({ url, secret })`. With a
   * `store`, what was not delivered yet survives a restart. Default: nobody is told.
   */
  notify?: NoticeTarget | undefined
  /**
   * Traces runs, turns, tool calls and requests to models: `openTelemetry()` of `millrace/server/opentelemetry`. Default:
   * nothing is traced.
   */
  tracing?: Tracing | undefined
  /** Clock, timers and chance, for simulations. */
  runtime?: Runtime | undefined
}

/** What kind of value each option takes. */
export const SERVER_OPTIONS: OptionKinds<ServerOptions<ActorMap>> = {
  actors: 'an object',
  authenticate: 'a function',
  authorize: 'a function',
  models: 'a list',
  providers: 'an object',
  defaultModel: 'an object',
  limits: 'an object',
  origins: 'a list of strings, such as ["https://app.example"]',
  trustProxy: 'true or false',
  store: 'an object',
  durability: 'a string',
  startWithoutStore: 'true or false',
  transport: 'an object',
  http: 'anything',
  httpPort: 'a number',
  name: 'a string',
  onError: 'a function',
  logger: 'an object',
  metrics: 'an object',
  notify: 'an object',
  tracing: 'an object',
  runtime: 'an object',
}

/** The options of `close`. */
export type CloseOptions = {
  /**
   * How long live runs may go on before they end as `interrupted`, in milliseconds. `Infinity` waits for all of them.
   * Default 10,000.
   */
  drainMs?: number | undefined
  /** The reason that clients receive, cut to 120 characters. Default `shutdown`. */
  reason?: string | undefined
}

/** What kind of value each option of `close` takes. */
export const CLOSE_OPTIONS: OptionKinds<CloseOptions> = { drainMs: 'anything', reason: 'anything' }

/** The options of `work`. */
export type WorkOptions = {
  /** The name of the pool. */
  pool: string
  /** The most runs at a time. Those that only wait for people do not count. Default 16. */
  slots?: number | undefined
}

/** What kind of value each option of `work` takes. */
export const WORK_OPTIONS: OptionKinds<WorkOptions> = { pool: 'a string', slots: 'a number' }

/** Options of `createServer` that were checked, with their defaults where the parts of a server need them. */
export type CheckedOptions = {
  readonly actors: Map<string, Actor>
  readonly limits: Limits
  readonly durability: Durability
  readonly transport: Transport
  readonly logger: Logger
  /** Ports serve plain HTTP. */
  readonly httpOn: boolean
}

/** @throws MillraceError `bad_request` for the first option that is wrong. The message says what it must be. */
export function checkServerOptions(options: ServerOptions<ActorMap>): CheckedOptions {
  checkOptions('createServer', options, SERVER_OPTIONS)
  const {
    authenticate,
    name,
    store,
    durability = 'eager',
    transport = ws(),
    onError,
    metrics,
    tracing,
    notify,
  } = options
  if (authenticate === undefined) {
    throw new MillraceError(
      'bad_request',
      'createServer needs `authenticate`: bearer({ [token]: id }), jwt(...), or anonymous() to admit everybody',
    )
  }
  if (MAKERS.has(authenticate))
    throw new MillraceError(
      'bad_request',
      '`authenticate` must be what bearer(...), jwt(...) or anonymous() returns: call it',
    )
  const actors = new Map(Object.entries(options.actors ?? {}) as [string, Actor][])
  if (actors.size === 0) throw new MillraceError('bad_request', 'createServer needs at least one actor')
  for (const [actorName, actor] of actors) checkActor(actorName, actor, store)
  const limits = resolveLimits(options.limits)
  if (name !== undefined && !isShortText(name))
    throw new MillraceError(
      'bad_request',
      `the name of a server must be well-formed text of at most ${MAX_NAME_CHARACTERS} characters`,
    )
  if (store !== undefined && typeof store.begin !== 'function')
    throw new MillraceError('bad_request', 'store must be a run store, such as sqlite({ path })')
  if (durability !== 'eager' && durability !== 'logged')
    throw new MillraceError('bad_request', "durability must be 'eager' or 'logged'")
  if (typeof transport.listen !== 'function')
    throw new MillraceError('bad_request', 'transport must be a transport, such as ws() or uws({ module })')
  const { logger = stderrLogger({ errors: onError === undefined }) } = options
  const missing = LEVELS.find((level) => typeof logger[level] !== 'function')
  if (missing !== undefined)
    throw new MillraceError('bad_request', `logger needs the methods ${LEVELS.join(', ')}; it has no ${missing}`)
  if (metrics !== undefined && typeof metrics.record !== 'function')
    throw new MillraceError('bad_request', 'metrics must be metrics, such as prometheus()')
  if (tracing !== undefined && typeof tracing.begin !== 'function')
    throw new MillraceError('bad_request', 'tracing must be traces, such as openTelemetry()')
  if (notify !== undefined) checkNotify(notify, actors)
  return { actors, limits, durability, transport, logger, httpOn: checkHttp(options) }
}

/**
 * Whether ports serve plain HTTP.
 * @throws MillraceError `bad_request` for options that do not fit together.
 */
function checkHttp({ http, httpPort }: Pick<ServerOptions<ActorMap>, 'http' | 'httpPort'>): boolean {
  if (http !== undefined && typeof http !== 'boolean' && (typeof http !== 'object' || http === null))
    throw new MillraceError('bad_request', 'http must be true, false or an object of options')
  if (httpPort !== undefined && !(Number.isInteger(httpPort) && httpPort >= 0 && httpPort <= 65_535))
    throw new MillraceError('bad_request', `httpPort must be a port: 0 to 65535, not ${String(httpPort)}`)
  if (http === false && httpPort !== undefined)
    throw new MillraceError('bad_request', 'httpPort is set and http is false: leave one of them out')
  return http !== undefined ? http !== false : httpPort !== undefined
}

/** @throws MillraceError `bad_request` for what is no target, and for an actor that the server does not have. */
function checkNotify(notify: NoticeTarget, actors: ReadonlyMap<string, Actor>): void {
  if (typeof notify.send !== 'function')
    throw new MillraceError('bad_request', 'notify must be a receiver of notices: webhook({ url, secret })')
  const unknown = notify.actors?.find((name) => !actors.has(name))
  if (unknown !== undefined)
    throw new MillraceError(
      'bad_request',
      `notify: unknown actor ${JSON.stringify(unknown)}; known actors: ${[...actors.keys()].join(', ')}`,
    )
}

/** What is said where a store is needed that has pools. */
export const NEEDS_POOLS = 'it needs a store that servers share, such as redis({ url }) of millrace/server/redis'

function checkActor(name: string, actor: unknown, store: RunStore | undefined): void {
  const { ask, stream, remote } = (actor ?? {}) as Partial<Actor>
  if (remote && !store?.shared?.pools)
    throw new MillraceError('bad_request', `actors.${name} is remote: ${NEEDS_POOLS}`)
  if (typeof ask !== 'function' && typeof stream !== 'function')
    throw new MillraceError(
      'bad_request',
      `actors.${name} is not an actor: make it with actor() or agent() of millrace/server`,
    )
}

/** Whether it is text that can be sent, and is not too long for a name. */
function isShortText(name: unknown): boolean {
  return typeof name === 'string' && name.length <= MAX_NAME_CHARACTERS && wellFormed(name) === name
}

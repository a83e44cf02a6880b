import type { ActorMap, DataOf, InputOf, ResultOf } from '../protocol/actors.ts'
import { MillraceError } from '../protocol/errors.ts'
import type {
  Attach,
  Key,
  OnDetach,
  Policy,
  Start,
  StartOptions as WireStartOptions,
  WireMap,
} from '../protocol/frames.ts'
import type { Runtime } from '../protocol/runtime.ts'
import { Connection, type Delays, type Status, type WebSocketClass } from './connection.ts'
import { type Answer, Run } from './run.ts'
import { systemRuntime } from './runtime.ts'

export type ClientOptions = {
  /** The token of `bearer` or `jwt`, or a function that fetches it for each connection. */
  token?: string | (() => string | Promise<string>)
  /** In place of `token`: credentials of any other shape, or a function that fetches them. */
  auth?: unknown
  /** What this client calls itself in the server's records. */
  name?: string
  /** Least milliseconds between two messages of text. Default: what the server does. */
  flushMs?: number
  /** How long a run may wait for a connection before it ends with `connection_lost`, in milliseconds. Default 10,000. */
  connectMs?: number
  /** Whether an event's `at` is the server's time; else it is the time of arrival. Default true. */
  timestamps?: boolean
  /** Hears every change of `status`. */
  onStatus?: (status: Status) => void
  /** The class to make connections with. Default: `globalThis.WebSocket`, in Node that of `ws`. */
  WebSocket?: WebSocketClass
  /** Clock, timers and chance. Default: the system's. */
  runtime?: Runtime
  /** Heartbeat and reconnection. */
  delays?: Partial<Delays>
}

/** How a subscription reads. */
export type ReadOptions = {
  /** Whether the actor waits for this reader (`pace`), or text is joined (`merge`), or all but the newest skipped (`latest`). */
  policy?: Policy
  /** How much may be under way or unread, in items of up to 1 KiB. Default: what the server says, 256. */
  credit?: number
  /** Items a second to begin with; 0 begins paused. Default: no limit. */
  rate?: number
}

export type AskOptions = {
  /** Cancels the run when it aborts. */
  signal?: AbortSignal
  /** Deadline of the run in milliseconds. Default: the server's, 600,000. */
  timeoutMs?: number
  /** Names the execution: the same key and input again lead to the same run. Default: random. At most 64 bytes. */
  key?: Key
  /** For the actor and the server's records. At most 1 KiB. */
  meta?: WireMap
}

export type StartOptions = ReadOptions &
  AskOptions & {
    /** What becomes of the run while nobody of its principal is connected. Default `pause`. */
    onDetach?: OnDetach
    /** How long it then lives, in milliseconds. Default: the server's, 300,000. */
    detachMs?: number
  }

export type AttachOptions = ReadOptions & {
  /** Where to begin: the first item (default), what comes from now on, or behind item number `after`. */
  after?: number | 'start' | 'live'
  /** With a number: the `gen` of the position it is from. Default 1. */
  gen?: number
}

export type CloseOptions = {
  /** What becomes of the runs that were started here and go on. Default `cancel`. */
  runs?: 'cancel' | 'detach'
}

/** One client instance: a connection that is opened when first needed, and the runs on it. Made by `createClient`. */
export class Client<Actors extends ActorMap = ActorMap> {
  readonly #connection: Connection
  readonly #timestamps: { ts?: true }
  readonly #started = new Set<Pick<Run, 'cancel' | 'detach'>>()

  /** @internal */
  constructor(connection: Connection, timestamps: boolean) {
    this.#connection = connection
    this.#timestamps = timestamps ? { ts: true } : {}
  }

  get status(): Status {
    return this.#connection.status
  }

  /** Opens the connection before it is needed. Rejects with `connection_lost` when the first try fails; others follow. */
  connect(): Promise<void> {
    return this.#connection.connect()
  }

  /**
   * Starts a run. What goes wrong later is the run's to tell.
   * @throws MillraceError `bad_request` for an input that cannot travel: too large, or not plain data.
   */
  start<Name extends keyof Actors & string>(
    actor: Name,
    input: InputOf<Actors[Name]>,
    options: StartOptions = {},
  ): Run<DataOf<Actors[Name]>, ResultOf<Actors[Name]>> {
    return this.#start(actor, input, options)
  }

  /** One answer: runs the actor's `ask`, or its `stream` to the end. Rejects as `result` of a run does. */
  async ask<Name extends keyof Actors & string>(
    actor: Name,
    input: InputOf<Actors[Name]>,
    options: AskOptions = {},
  ): Promise<Answer<ResultOf<Actors[Name]>>> {
    return this.#start<never, ResultOf<Actors[Name]>>(actor, input, { ...options, ask: true }).result
  }

  /** Opens a view of a run that exists. `actor` only tells its types. */
  attach<Name extends keyof Actors & string>(
    _actor: Name,
    run: string,
    { after = 'start', gen = 1, ...reading }: AttachOptions = {},
  ): Run<DataOf<Actors[Name]>, ResultOf<Actors[Name]>> {
    const from = after === 'start' ? 0 : after === 'live' ? null : after
    const options: Attach['options'] = { policy: 'log', ...reading, ...this.#timestamps }
    if (from) options.gen = gen
    const request: Attach = { kind: 'attach', sid: 0, run, after: from, options }
    return new Run(this.#connection, this.#connection.prepare(request, { after: from, ...options }))
  }

  /** Cancels or detaches the runs that were started here, waits for their ends for a moment, and closes the connection. */
  async close({ runs = 'cancel' }: CloseOptions = {}): Promise<void> {
    const { runtime, limits } = this.#connection
    const ends = [...this.#started].map((run) => (runs === 'cancel' ? run.cancel() : run.detach()))
    await new Promise<void>((resolve) => {
      const timer = runtime.setTimer(2 * limits.cancelGraceMs, resolve)
      void Promise.all(ends).then(() => {
        timer.clear()
        resolve()
      })
    })
    this.#connection.close()
  }

  #start<Data, Result>(actor: string, input: unknown, options: StartOptions & { ask?: true }): Run<Data, Result> {
    const { signal, ...rest } = options
    const key = this.#connection.runtime.randomBytes(16)
    const wire: WireStartOptions = { key, policy: 'pace', ...rest, ...this.#timestamps }
    const request: Start = { kind: 'start', sid: 0, actor, input, options: wire }
    const run: Run<Data, Result> = new Run(this.#connection, this.#connection.prepare(request, wire), signal, () =>
      this.#started.delete(run),
    )
    this.#started.add(run)
    return run
  }
}

/**
 * A client of the server at `url` (`ws:` or `wss:`). It connects when first needed and comes back after a loss.
 * `Actors`: `typeof actors` of the server.
 *
 * @throws MillraceError `bad_request` where there is no WebSocket class and none was given.
 */
export function createClient<Actors extends ActorMap = ActorMap>(
  url: string | URL,
  options: ClientOptions = {},
): Client<Actors> {
  const {
    token,
    auth = token,
    WebSocket = (globalThis as { WebSocket?: WebSocketClass }).WebSocket,
    runtime = systemRuntime,
    connectMs = 10_000,
    timestamps = true,
    delays,
    onStatus,
    ...hello
  } = options
  if (!WebSocket)
    throw new MillraceError('bad_request', 'there is no WebSocket here: give a class as options.WebSocket')
  const connection = new Connection({ url: String(url), WebSocket, runtime, auth, hello, connectMs, delays, onStatus })
  return new Client(connection, timestamps)
}

import type { ActorMap, AnswerOf, DataOf, InputOf } from '../protocol/actors.ts'
import { MillraceError } from '../protocol/errors.ts'
import type {
  Attach,
  Key,
  OnDetach,
  Policy,
  Start,
  WireMap,
  StartOptions as WireStartOptions,
} from '../protocol/frames.ts'
import { pack } from '../protocol/pack.ts'
import { type ConnectionOptions, createConnection, type Status } from './connection.ts'
import { MAX_KEY_BYTES, MAX_META_BYTES, MAX_META_DEPTH } from './own-limits.ts'
import { prepare } from './prepare.ts'
import { createRun, type Leavable, type Run } from './run.ts'

export type ClientOptions = ConnectionOptions & {
  /** Whether an event's `at` is the server's time; else it is the time of arrival. Default true. */
  timestamps?: boolean
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

/** A run of actor `A`, as a client holds it. */
export type RunOf<A> = Run<DataOf<A>, AnswerOf<A>>

/** One client instance: a connection that is opened when first needed, and the runs on it. */
export interface Client<Actors extends ActorMap = ActorMap> {
  readonly status: Status
  /** Opens the connection before it is needed. */
  connect(): void
  /**
   * Starts a run. What goes wrong later is the run's to tell.
   * @throws MillraceError `bad_request` for an input that cannot travel: too large, or not plain data.
   */
  start<Name extends keyof Actors & string>(
    actor: Name,
    input: InputOf<Actors[Name]>,
    options?: StartOptions,
  ): RunOf<Actors[Name]>
  /** One answer: runs the actor's `ask`, or its `stream` to the end. Rejects as the `result` of a run does. */
  ask<Name extends keyof Actors & string>(
    actor: Name,
    input: InputOf<Actors[Name]>,
    options?: AskOptions,
  ): Promise<AnswerOf<Actors[Name]>>
  /** Opens a view of a run that exists. `actor` only tells its types. */
  attach<Name extends keyof Actors & string>(actor: Name, run: string, options?: AttachOptions): RunOf<Actors[Name]>
  /** Cancels or detaches the runs that were started here, waits for their ends for a moment, and closes the connection. */
  close(options?: CloseOptions): Promise<void>
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
  const { timestamps: ts = true } = options
  const connection = createConnection(String(url), options)
  const started = new Set<Leavable>()

  const begin = <Data, Result>(
    actor: string,
    input: unknown,
    { signal, ...rest }: StartOptions & { ask?: true },
  ): Run<Data, Result> => {
    const options: WireStartOptions = { policy: 'pace', ts, ...rest }
    if (sizeOf(options.key) > MAX_KEY_BYTES || sizeOf(options.meta) > MAX_META_BYTES)
      throw new MillraceError('bad_request', 'a key has at most 64 bytes, meta 1,024')
    const request = prepare<Start>({ kind: 'start', sid: 0, actor, input, options }, connection, options)
    return createRun(connection, request, started, signal)
  }

  return {
    get status() {
      return connection.status()
    },
    connect: () => connection.connect(),
    start: (actor, input, options = {}) => begin(actor, input, options),
    ask: async (actor, input, options = {}) =>
      begin<never, AnswerOf<Actors[typeof actor]>>(actor, input, { ...options, ask: true }).result,

    attach(_actor, run, { after: place = 'start', gen = 1, ...reading } = {}) {
      const after = place === 'start' ? 0 : place === 'live' ? null : place
      const options: Attach['options'] = { policy: 'log', ts, ...reading, gen: after ? gen : undefined }
      return createRun(
        connection,
        prepare<Attach>({ kind: 'attach', sid: 0, run, after, options }, connection, { after, ...options }),
      )
    },

    async close({ runs = 'cancel' } = {}) {
      const ends = [...started].map((run): unknown => run[runs]())
      // Closing ends every stream, and with it every wait for an end.
      const timer = connection.runtime.setTimer(2 * connection.limits.cancelGraceMs, () => connection.close())
      await Promise.all(ends)
      timer.clear()
      connection.close()
    },
  }
}

function sizeOf(value: unknown): number {
  const bytes: number[] = []
  pack(bytes, value, MAX_META_DEPTH)
  return bytes.length
}

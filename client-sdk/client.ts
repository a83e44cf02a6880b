import type { ActorMap, AnswerOf, DataOf, InputOf } from '../protocol/actors.ts'
import { MillraceError } from '../protocol/errors.ts'
import type { AnyData } from '../protocol/events.ts'
import type {
  Attach,
  Key,
  OnDetach,
  Policy,
  Start,
  WireMap,
  StartOptions as WireStartOptions,
} from '../protocol/frames.ts'
import { cancelOf } from './abort.ts'
import { type ConnectionOptions, createConnection, type Status, type StatusListener } from './connection.ts'
import { prepare } from './prepare.ts'
import { createRun, type Leavable, type OnRequest, type Run } from './run.ts'
import { createRunList, type ListedRun } from './run-list.ts'

/** The options of `createClient`. */
export type ClientOptions = ConnectionOptions & {
  /** true: an event's `at` is the server's time. false: it is the time of arrival. Default true. */
  timestamps?: boolean | undefined
}

/** Options of a subscription. */
export type ReadOptions = {
  /**
   * `pace`: the actor waits for this reader. `log`: it reads everything the server keeps, at its own speed. `merge`:
   * the same, with text that waits merged. `latest`: it gets the newest item and skips the others. Default: `pace` for
   * `start`, `log` for `attach`.
   */
  policy?: Policy | undefined
  /**
   * Most items that may be under way or unread, at least 1; 0 counts as 1. Above 1 KiB an event counts one for each
   * KiB. Default: the server's, 256.
   */
  credit?: number | undefined
  /** Items a second, until `throttle` sets another rate. 0 begins paused. Default: no limit. */
  rate?: number | undefined
}

/** Options that answer what a run asks. */
export type AnswerOptions = {
  /**
   * Called with each request of the run, once, when it is read, and its answer is sent: for an approval a boolean or `{
   * ok, note, args, remember }`, for any other request its value, or a promise of either. undefined sends nothing, and
   * the request stays open. The first answer of all readers counts. An error that it throws is reported as an event
   * listener's is. Default: none.
   */
  onRequest?: OnRequest | undefined
}

/** The options of `ask`. */
export type AskOptions = AnswerOptions & {
  /**
   * Cancels the run when it is aborted. The receipt has the reason of the abort: `user` for `abort()`, `timeout` for
   * `AbortSignal.timeout`, the reason itself for one of the `CancelReason`s, and `unspecified` for any other, with its
   * text as the note. One signal may cancel any number of runs.
   */
  signal?: AbortSignal | undefined
  /** Deadline of the run, in milliseconds. Default: the server's, 600,000, which is also the most. */
  timeoutMs?: number | undefined
  /** Names the execution: the same key with the same input is the same run. At most 64 bytes. Default: random. */
  key?: Key | undefined
  /** Data for the actor and the server's records. At most 1,024 bytes when encoded. Default: none. */
  meta?: WireMap | undefined
}

/** The options of `start`. */
export type StartOptions = ReadOptions &
  AskOptions & {
    /**
     * Decides about the run while no client of its principal is connected. `pause`: it goes on until its gate closes,
     * and is cancelled after `detachMs`. `continue`: it goes on. `cancel`: as `pause`, but with 10,000 ms by default.
     * Default `pause`.
     */
    onDetach?: OnDetach | undefined
    /**
     * Longest time that the run may be detached, in milliseconds. Default: the server's `resumeMs`, 300,000, which is
     * also the most.
     */
    detachMs?: number | undefined
  }

/** The options of `attach`. */
export type AttachOptions = ReadOptions &
  AnswerOptions & {
    /**
     * The position to begin at: the first item (`start`, the default), the next item (`live`), or behind item `after`.
     */
    after?: number | 'start' | 'live' | undefined
    /** The `gen` of the position that a number in `after` is from. Default 1. */
    gen?: number | undefined
  }

/** The options of `close`. */
export type CloseOptions = {
  /** Whether to cancel or detach the runs that this client started and that go on. Default `cancel`. */
  runs?: 'cancel' | 'detach' | undefined
}

/** A run of actor `A`, with the types of its data and its answer. */
export type RunOf<A> = Run<DataOf<A>, AnswerOf<A>>

/** One client instance: its connection, which is opened when it is first needed, and the runs on it. */
export interface Client<Actors extends ActorMap = ActorMap> {
  /** The state of the connection. */
  readonly status: Status
  /**
   * Calls `listener` at once with the status, and then with each change of it, until the function that it returns is
   * called. `error` says why the status is `lost` or `closed`.
   */
  readonly onStatus: (listener: StatusListener) => () => void
  /**
   * Opens the connection before it is needed, or again after it was closed: by `close`, by the server, or because the
   * credentials were refused. A `token` function is then asked for new ones. Runs that ended with the connection stay
   * ended. During a `close` it keeps the connection.
   */
  connect(): void
  /**
   * Starts a run. The promises and the loop of the run report all later errors. While the server allows no further
   * stream on this connection, or no further start at the moment, the start waits its turn, for at most `connectMs`. At
   * most 1,000 wait. A start that is cancelled or detached before its turn is not sent.
   *
   * @param actor The name of an actor of the server.
   * @param input Plain data, as the actor's schema asks for: what JSON has, and bytes in any view of a buffer. Proxies
   * of plain data are plain data. It is copied.
   * @throws MillraceError `bad_request` for an input that is not plain data or larger than the server takes, and for an
   * argument of a wrong type. Before the first connection the server's limits are not known: then the run ends with
   * this error when they are. No other run is affected.
   */
  start<Name extends keyof Actors & string>(
    actor: Name,
    input: InputOf<Actors[Name]>,
    options?: StartOptions,
  ): RunOf<Actors[Name]>
  /**
   * Asks for one answer: starts the actor's `ask`, or its `stream` if it has none, and resolves with the run's
   * `result`. Rejects with the errors of `start` and of `result`.
   */
  ask<Name extends keyof Actors & string>(
    actor: Name,
    input: InputOf<Actors[Name]>,
    options?: AskOptions,
  ): Promise<AnswerOf<Actors[Name]>>
  /**
   * Attaches to a run that exists. Ends at once with `too_many_streams` if the server allows no further stream on this
   * connection.
   *
   * @param actor Gives the run its types. It is not sent.
   * @param run The run's id.
   * @throws MillraceError `bad_request` for an argument of a wrong type.
   */
  attach<Name extends keyof Actors & string>(actor: Name, run: string, options?: AttachOptions): RunOf<Actors[Name]>
  /**
   * Lists the runs of this client's principal that the server still knows, oldest first: those that go on, and those
   * that have ended and are kept. It needs nothing but the credentials, so a page that was reloaded finds its runs. To
   * read one, `attach(run.actor, run.id)`. Child runs are not listed; the events of their parents name them.
   *
   * Rejects with `unsupported` if the server is older than this feature, with `connection_lost` if there is no
   * connection within `connectMs`, with `too_many_streams` if no stream of it is free within that time, and with the
   * reason of a refusal.
   */
  runs(options?: { watch?: false | undefined }): Promise<readonly ListedRun<keyof Actors & string>[]>
  /**
   * Watches that list: `for await (const runs of client.runs({ watch: true }))`. Each value is the whole list, first as
   * it is, and then after a run began, changed its state or was given up, and after each new connection. New items
   * alone give no value. A reader that is slow gets the newest list. A lost connection does not end it, however long it
   * takes to come back. Entries that did not change stay the same objects until then.
   *
   * The loop throws the errors of `runs()`. Leaving it, or calling its `return()`, ends it at once.
   */
  runs(options: { watch: true }): AsyncIterableIterator<readonly ListedRun<keyof Actors & string>[], undefined>
  /**
   * Cancels or detaches the runs that this client started, waits up to twice the server's `cancelGraceMs` (2 s by
   * default) for their ends, and closes the connection. Rejects with `bad_request` for any other `runs`, and closes
   * nothing then.
   */
  close(options?: CloseOptions): Promise<void>
}

/**
 * Makes a client. It connects when it is first needed, and again after a loss.
 *
 * @typeParam Actors `typeof actors` of the server.
 * @param url The server's address: `ws:` or `wss:`.
 * @throws MillraceError `bad_request` for an option of a wrong type, and where there is no WebSocket class and none was
 * given.
 */
export function createClient<Actors extends ActorMap = ActorMap>(
  url: string | URL,
  options: ClientOptions = {},
): Client<Actors> {
  const { timestamps: ts = true } = options
  const connection = createConnection(String(url), options)
  const started = new Map<Leavable, AbortSignal | undefined>()
  const abort = (): void => {
    for (const [run, signal] of started) if (signal?.aborted) void run.cancel(cancelOf(signal.reason))
  }
  /** Calls of `connect`: one during a `close` keeps the connection. */
  let connects = 0

  const begin = <Data extends AnyData, Result>(
    actor: string,
    input: unknown,
    { signal, onRequest, ...rest }: StartOptions & { ask?: true },
  ): Run<Data, Result> => {
    const options: WireStartOptions = { ts, ...rest, policy: rest.policy ?? 'pace' }
    const request = prepare<Start>({ kind: 'start', sid: 1, actor, input, options }, connection.stated)
    if (signal && !signal.addEventListener) throw new MillraceError('bad_request', 'signal must be an AbortSignal')
    return createRun(connection, request, onRequest, started, signal, abort)
  }

  return {
    get status() {
      return connection.status()
    },
    onStatus: connection.onStatus,
    connect() {
      connects++
      connection.connect()
    },
    start: (actor, input, options) => begin(actor, input, options ?? {}),
    ask: async (actor, input, options) =>
      begin<never, AnswerOf<Actors[typeof actor]>>(actor, input, { ...options, ask: true }).result,

    attach(_actor, run, options) {
      const { after: place = 'start', gen = 1, onRequest, ...reading } = options ?? {}
      // null is live on the wire. An application that passes it has lost its position.
      const after = place === 'start' ? 0 : place === 'live' ? null : (place ?? -1)
      const request = { ts, ...reading, policy: reading.policy ?? 'log', gen: after ? gen : undefined } as const
      return createRun(
        connection,
        prepare<Attach>({ kind: 'attach', sid: 1, run, after, options: request }, connection.stated),
        onRequest,
      )
    },

    runs: ((options?: { watch?: boolean }) => {
      const watch = options?.watch ? true : undefined
      const list = createRunList(connection, watch)
      return watch ? list : list.next().then(({ value }) => value)
    }) as Client<Actors>['runs'],

    async close(options) {
      const { runs = 'cancel' } = options ?? {}
      if (runs !== 'cancel' && runs !== 'detach') throw new MillraceError('bad_request', 'runs: cancel or detach')
      const before = connects
      const ends = [...started.keys()].map((run): unknown => run[runs]())
      const shut = (): void => {
        if (connects === before) connection.close()
      }
      // Closing ends every stream, and with it every wait for an end.
      const timer = connection.runtime.setTimer(2 * connection.limits.cancelGraceMs, shut)
      await Promise.all(ends)
      timer.clear()
      shut()
    },
  }
}

import { MillraceError } from '../protocol/errors.ts'
import type { AnyData, RunEnd, RunEvent, StreamEvent } from '../protocol/events.ts'
import type { Attach, Cancel, Start } from '../protocol/frames.ts'
import { CANCEL_CODES, type RunUsage } from '../protocol/receipt.ts'
import { incomplete } from './answer-text.ts'
import type { CancelOptions, CancelResult, CancelTarget, TargetCancelResult } from './cancel.ts'
import type { Connection } from './connection.ts'
import { deferred, quiet } from './deferred.ts'
import { MAX_NOTE } from './own-limits.ts'
import { prepare } from './prepare.ts'
import { failureOf, Reader } from './reader.ts'
import { report } from './report.ts'
import { createStream, type Position, type SentInput, type StreamEnd } from './stream.ts'

/** The types of input that agents take. An actor may take others. */
export type InputType =
  | 'message'
  | 'message.now'
  | 'message.after'
  | 'govern'
  | 'stop'
  | 'approve'
  | 'answer'
  | 'tool.result'
  | (string & {})

/** A request of a run for an approval (`call` names the tool call) or for another answer. */
export type RequestEvent = Extract<RunEvent, { type: 'request' }>

/** Answers a request. */
export type OnRequest = (request: RequestEvent) => unknown

/**
 * One run, as the client that started it or attached to it uses it.
 *
 * A run has one reader: `for await` over its events or over its `text()`. While only `result`, `usage` or `end` is
 * awaited, the client reads by itself. A reader that stops reading holds the run back, unless its policy says
 * otherwise.
 *
 * The loop ends when the run is done, or was cancelled or detached from here. It throws a `MillraceError` when the run
 * fails, and when somebody else cancels it (`cancelled`, with the receipt). Leaving the loop cancels a run that was
 * started here, and detaches from one that was attached to. A lost connection does neither.
 *
 * The promises of a run need no `catch`: a rejection that nobody handles ends no process.
 */
export interface Run<Data extends AnyData = AnyData, Result = unknown>
  extends AsyncIterable<StreamEvent<Data>, undefined> {
  /** The run's id. Undefined for a run that was started here, until the server has opened it. */
  readonly id: string | undefined
  /** Resolves when the server has opened the run. Rejects with the error that prevented it. */
  readonly opened: Promise<{ id: string; gen: number }>
  /** The position of the last item that was read. Undefined until the run is opened. */
  readonly position: Position | undefined
  /**
   * The value that the actor returned, or else all text of the answer, without what sub-agents said. Reading this
   * property drains a run that has no reader. Rejects with the run's error, with `cancelled` (and the receipt) after a
   * cancel, and with `interrupted` when text is missing.
   *
   * All text is kept only once this property was read. Without that, text is dropped when it exceeds 1,048,576
   * characters (UTF-16 code units), and a later result of text rejects with `already_reading`: for a long answer, read
   * this property before the loop.
   */
  readonly result: Promise<Result>
  /**
   * The run's usage, as far as it is known, however the run ended. Reading this property drains a run without a reader.
   */
  readonly usage: Promise<RunUsage | undefined>
  /**
   * The run's one end. Rejects only if this client does not learn it: the connection did not come back, or this view
   * was detached. Reading this property drains a run that has no reader.
   */
  readonly end: Promise<RunEnd<Result>>
  /** Reads the events. @throws MillraceError `already_reading` for a second reader. */
  [Symbol.asyncIterator](): AsyncIterableIterator<StreamEvent<Data>, undefined>
  /**
   * Reads the text of the answer only, without what sub-agents said. The loop throws `interrupted` where text is missing, because a string has no
   * place for a gap.
   * @throws MillraceError `already_reading` for a second reader.
   */
  text(): AsyncIterableIterator<string, undefined>
  /**
   * Stops one target, a tool call or sub-agent; the run goes on. Never rejects. Resolves with the target's receipt, or
   * with the outcome that came first, or with `confirmed: false`.
   * @throws MillraceError `bad_request` for an id, a reason or a note of a wrong type, also for an id that is undefined.
   */
  cancel(options: Omit<CancelOptions, 'cascade'> & CancelTarget): Promise<TargetCancelResult>
  /**
   * Stops the run. The loop ends at once. Never rejects; resolves as for a target.
   * @throws MillraceError `bad_request` for a reason or a note of a wrong type.
   */
  cancel(options?: CancelOptions): Promise<CancelResult>
  /** Stops reading; the run goes on. While no client of its principal is connected, its `onDetach` decides. */
  detach(): void
  /** Holds the items back. With policy `pace`, the actor waits as well. */
  pause(): void
  /** Ends a pause. */
  resume(): void
  /**
   * Sets the rate, in items a second, and ends a pause. null lifts the rate; 0 pauses.
   * @throws MillraceError `bad_request` for anything but null and integers of at least 0.
   */
  throttle(perSec: number | null): void
  /**
   * Sends an input to the run. Resolves when the run has accepted it. Rejects with `not_found` (nothing waits for it,
   * or somebody else has answered), `invalid_input` (the actor does not take such inputs, or none of this size),
   * `overloaded` (too many inputs wait: try again later), `forbidden`, `bad_request` (the data cannot travel), or `connection_lost` (the
   * stream ended before the answer). `delivery` of what it returns says what becomes of the input.
   *
   * `message.now` cuts the answer short that an agent gives, `message` comes in its next turn, and `message.after` behind
   * its answer. The first and the last need a server newer than 0.1.0: it rejects with `unsupported` otherwise.
   */
  send(type: InputType, data: unknown): SentInput
}

/** A run as a client's `close` uses it. */
export type Leavable = Pick<Run, 'cancel' | 'detach'>

/**
 * @param onRequest Answers the requests that are read.
 * @param started The runs that were started here and go on, with their signals. The run adds and removes itself.
 * @param abort Cancels those whose signal is aborted. It is on each signal once, however many runs have that signal.
 */
export function createRun<Data extends AnyData, Result>(
  connection: Connection,
  request: Start | Attach,
  onRequest?: OnRequest,
  started?: Map<Leavable, AbortSignal | undefined>,
  signal?: AbortSignal,
  abort?: () => void,
): Run<Data, Result> {
  signal?.addEventListener('abort', abort!)
  const opened = deferred<{ id: string; gen: number }>()
  let perSec = request.options.rate || null
  let result: Promise<Result> | undefined
  let usage: Promise<RunUsage | undefined> | undefined
  let end: Promise<RunEnd<Result>> | undefined

  const stream = createStream(connection, request, {
    opened: opened.resolve,
    arrived: () => reader.arrived(),
    closed(how) {
      started?.delete(run)
      // An error has a stack, and most runs have been opened.
      if (!stream.position()) opened.reject(failureOf(how) ?? incomplete())
      reader.closed(how)
      if (signal && ![...started!.values()].includes(signal)) signal.removeEventListener('abort', abort!)
    },
  })

  /** A request comes again where items are missing. */
  const asked = new Set<string>()
  const answer = async (request: RequestEvent): Promise<void> => {
    // The application is called when the event has been read, and not while it is.
    const value = await Promise.resolve(request).then(onRequest)
    const { id, call } = request
    if (value === undefined) return
    if (call === undefined) void run.send('answer', { request: id, value })
    else void run.send('approve', { call, ...(typeof value === 'boolean' ? { ok: value } : Object(value)) })
  }

  const take = (): StreamEvent | undefined => {
    const event = stream.take()
    if (event?.type === 'request' && !asked.has(event.id)) {
      asked.add(event.id)
      answer(event).catch(report)
    }
    return event
  }

  const reader = new Reader(onRequest ? { take, detach: (reason) => stream.detach(reason) } : stream, () => {
    if (request.kind === 'start') void run.cancel()
    else run.detach()
  })

  const leave = (frame: Cancel): Promise<CancelResult> => {
    reader.detach()
    stream.cancel(frame)
    return reader.end(cancelResult)
  }

  const run: Run<Data, Result> = {
    get id() {
      return stream.run
    },

    opened: opened.promise,

    get position() {
      return stream.position()
    },

    get result() {
      reader.text.isAsked = true
      return (result ??= reader.end((ending) => {
        const failure = failureOf(ending)
        if (failure) throw failure
        return ('result' in ending ? ending.result : String(reader.text)) as Result
      }))
    },

    get usage() {
      return (usage ??= quiet(run.end.then((how) => how.usage)))
    },

    get end() {
      return (end ??= reader.end((ending) => {
        if (ending instanceof Error) throw ending
        return ending as RunEnd<Result>
      }))
    },

    [Symbol.asyncIterator]: () => reader.read('events'),
    text: () => reader.read('text'),

    cancel(options?: CancelOptions & Partial<CancelTarget>): Promise<CancelResult> {
      const given = Object(options) as CancelOptions & Partial<CancelTarget>
      const { reason = 'user', note, call, agent, ifSeq, cascade } = given
      let frame = {
        kind: 'cancel',
        sid: 1,
        code: CANCEL_CODES[reason] ?? -1,
        note: note?.slice?.(0, MAX_NOTE) ?? note,
        // An id that is undefined by mistake must not cancel the whole run.
        ...(('call' in given || 'agent' in given) && {
          target: { type: call === undefined ? 'agent' : 'call', id: call ?? agent },
        }),
      } as Cancel
      // What nobody has given needs no check.
      if (options) frame = prepare(frame)
      if (frame.target) return stream.cancelTarget(frame)
      if (ifSeq !== undefined || cascade === false) {
        reader.isStopping = true
        return stream.input('stop', { ifSeq, code: frame.code, note: frame.note, cascade }).then(
          // Its end comes behind the items that wait, which nobody reads any more: a cancel skips them.
          () => leave(frame),
          (error: unknown) => {
            const { code } = error as MillraceError
            reader.isStopping = false
            // The end of the run came first, or nothing does. The end is the answer to a cancel, and ends no turn.
            return code === 'connection_lost' || (ifSeq ?? code) === 'not_found'
              ? leave(frame)
              : { confirmed: false, code }
          },
        )
      }
      return leave(frame)
    },

    detach() {
      reader.detach()
      stream.detach(new MillraceError('cancelled', 'detached: attach again'))
    },

    pause: () => stream.setRate(0),
    resume: () => stream.setRate(perSec),

    throttle(to) {
      stream.setRate(to)
      perSec = to || null
    },

    send: (type, data) => quiet(stream.input(type, data)),
  }

  started?.set(run, signal)
  connection.add(stream)
  if (signal?.aborted) abort!()
  return run
}

function cancelResult(ending: StreamEnd): CancelResult {
  // A loss or a refusal says nothing of the run.
  const failure = ending instanceof Error ? ending : ending.seq === 0 && ending.error
  if (failure) return { confirmed: false, code: failure.code }
  const { outcome, receipt } = ending as RunEnd
  return { ...receipt, outcome, confirmed: true } as CancelResult
}

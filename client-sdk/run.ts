import { MillraceError } from '../protocol/errors.ts'
import type { RunEnd, StreamEvent } from '../protocol/events.ts'
import type { Attach, Start } from '../protocol/frames.ts'
import { CANCEL_CODES, type Usage } from '../protocol/receipt.ts'
import type { CancelOptions, CancelResult, CancelTarget, TargetCancelResult } from './cancel.ts'
import type { Connection } from './connection.ts'
import { deferred, quiet } from './deferred.ts'
import { createStream, type InputTaken, type Position, type StreamEnd } from './stream.ts'

/** The kinds of input that agents know. An actor may take others. */
export type InputType = 'message' | 'approve' | 'answer' | 'tool.result' | (string & {})

/**
 * One run as the client that started it, or attached to it, holds it. It has one reader: `for await` over its events,
 * over its `text()`, or nobody while only `result`, `usage` or `end` is awaited. A reader that does not read holds the
 * run back, unless its policy says otherwise.
 *
 * The loop ends when the run is done, or was cancelled or detached from here; it throws a `MillraceError` for an error,
 * and for a cancel by somebody else (`cancelled`, with the receipt). Leaving the loop cancels a run that was started here
 * and detaches from one that was attached to. Losing the connection does neither.
 *
 * None of its promises has to be caught.
 */
export interface Run<Data = unknown, Result = unknown> extends AsyncIterable<StreamEvent<Data>, undefined> {
  /** The run's id, once it is known: at once for one that was attached to, else when `opened` resolves. */
  readonly id: string | undefined
  /** Resolves when the server has opened the run. Rejects with what prevented it. */
  readonly opened: Promise<{ id: string; gen: number }>
  /** The last item that was read. Undefined until the run is opened. */
  readonly position: Position | undefined
  /**
   * What the actor returned, else all text that was read. Without a reader, reading this drains the run. Rejects with the
   * run's error, with `cancelled` (and the receipt) after a cancel, with `interrupted` when text is missing.
   */
  readonly result: Promise<Result>
  /** What the run cost, as far as it is known, however it ended. Without a reader, reading this drains the run. */
  readonly usage: Promise<Usage | undefined>
  /**
   * The run's one end. Rejects only when it is not known: the connection did not come back, or this view was detached.
   * Without a reader, reading this drains the run.
   */
  readonly end: Promise<RunEnd<Result>>
  /** Reads the events. @throws MillraceError `already_reading` for a second reader. */
  [Symbol.asyncIterator](): AsyncIterableIterator<StreamEvent<Data>, undefined>
  /**
   * Reads the text of the answer only. Throws `interrupted` where text is missing, as a string cannot tell of a gap.
   * @throws MillraceError `already_reading` for a second reader.
   */
  text(): AsyncIterableIterator<string, undefined>
  /**
   * Stops one tool call or sub-agent; the run goes on. Never rejects: resolves with the receipt, with the outcome that
   * came first, or with `confirmed: false`.
   */
  cancel(options: CancelOptions & CancelTarget): Promise<TargetCancelResult>
  /** Stops the run. The loop ends at once. Never rejects, and resolves as for a part. */
  cancel(options?: CancelOptions): Promise<CancelResult>
  /** Stops reading and leaves the run to itself: what happens then is its `onDetach`. */
  detach(): void
  /** Holds the items back, and with policy `pace` the actor. */
  pause(): void
  /** Ends a pause. */
  resume(): void
  /**
   * At most `perSec` items a second from now on; null lifts that. Ends a pause.
   * @throws MillraceError `bad_request` for anything but a whole number of at least 0.
   */
  throttle(perSec: number | null): void
  /**
   * Says something to the run. Resolves when the run has it for good. Rejects with `not_found` (no longer wanted: somebody
   * else answered), `invalid_input` (the run takes no such input), `overloaded` (too many wait: try again later),
   * `forbidden`, or `connection_lost` when the stream ended before the answer came.
   */
  send(type: InputType, data: unknown): Promise<InputTaken>
}

/** Pieces of an answer that are kept apart, so that a rewind takes some of them back. Older ones are joined. */
const MAX_PIECES = 1_000

/** What a client's `close` needs of a run. */
export type Leavable = Pick<Run, 'cancel' | 'detach'>

/** A piece of an answer, up to item `seq`. */
type Piece = { seq: number; text: string }

/** @param started where the runs that were started here are listed, as long as they go on. */
export function createRun<Data, Result>(
  connection: Connection,
  request: Start | Attach,
  started?: Set<Leavable>,
  signal?: AbortSignal,
): Run<Data, Result> {
  const opened = deferred<{ id: string; gen: number }>()
  /** Resolves when the reader has come to the end, or has left and the stream is closed. */
  const over = deferred<StreamEnd>()
  /** Calls of `next` that wait for something to arrive. */
  const waiting: (() => void)[] = []
  let reader: 'events' | 'text' | 'drain' | undefined
  let hasRead = false
  /** The answer as far as it was read and still counts, and whether none of it is missing. */
  let answer: Piece[] = []
  let isWhole = true
  /** The beginning of the answer, in one piece. */
  let beginning: Piece = { seq: 0, text: '' }
  /** How the stream was closed; what waits in the inbox comes before. */
  let ending: StreamEnd | undefined
  /** Nothing comes to the reader any more. */
  let isLeft = false
  let perSec = request.options.rate || null
  let result: Promise<Result> | undefined
  let usage: Promise<Usage | undefined> | undefined
  let end: Promise<RunEnd<Result>> | undefined

  const take = (): StreamEvent | string | undefined => {
    for (let event = isLeft ? undefined : stream.take(); event; event = stream.take()) {
      hasRead = true
      if (event.type === 'token' && answer.push(event) > MAX_PIECES) {
        const older = answer.splice(0, MAX_PIECES / 2)
        beginning = { seq: older.at(-1)!.seq, text: beginning.text + textOf(older) }
      }
      if (event.type === 'gap' && event.reason !== 'policy') {
        const { from, next } = event
        if (from < next || next <= beginning.seq) isWhole = false
        answer = answer.filter(({ seq }) => seq < next)
        if (reader === 'text') {
          ending = incomplete()
          stream.detach(ending)
          return undefined
        }
      }
      if (reader !== 'text') return event
      if (event.type === 'token') return event.text
    }
    return undefined
  }

  const finish = (): void => {
    isLeft = true
    if (ending) over.resolve(ending)
  }

  /** Something arrived, or the reader has left. */
  const pump = (): void => {
    if (reader === 'drain') {
      while (take() !== undefined);
      if (ending) finish()
    }
    for (const wake of waiting.splice(0)) wake()
  }

  /** Nothing more for the reader. */
  const leave = (): void => {
    isWhole = false
    finish()
    pump()
  }

  const read = <T>(as: 'events' | 'text'): AsyncIterableIterator<T, undefined> => {
    if (reader && (reader !== 'drain' || hasRead))
      throw new MillraceError('already_reading', 'a run has one reader: attach to it for another')
    reader = as
    return {
      async next() {
        for (;;) {
          const value = take()
          if (value !== undefined) return { value: value as T, done: false }
          if (isLeft || ending) break
          await new Promise<void>((resolve) => waiting.push(resolve))
        }
        const failure = isLeft || !ending ? undefined : failureOf(ending)
        finish()
        if (failure) throw failure
        return { value: undefined, done: true }
      },
      return() {
        if (request.kind === 'start') void run.cancel()
        else run.detach()
        return Promise.resolve({ value: undefined, done: true })
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  const atEnd = <T>(answer: (ending: StreamEnd) => T): Promise<T> => {
    reader ??= 'drain'
    pump()
    return quiet(over.promise.then(answer))
  }

  const abort = (): void => void run.cancel()

  const stream = createStream(connection, request, {
    opened: (id, gen) => opened.resolve({ id, gen }),
    arrived: pump,
    closed(how) {
      signal?.removeEventListener('abort', abort)
      started?.delete(run)
      ending ??= how
      opened.reject(failureOf(how) ?? incomplete())
      if (isLeft) finish()
      pump()
    },
  })

  const run: Run<Data, Result> = {
    get id() {
      return stream.run
    },

    opened: opened.promise,

    get position() {
      return stream.position()
    },

    get result() {
      return (result ??= atEnd((ending) => {
        const failure = failureOf(ending)
        if (failure) throw failure
        if ('result' in ending) return ending.result as Result
        if (!isWhole) throw incomplete()
        return (beginning.text + textOf(answer)) as Result
      }))
    },

    get usage() {
      return (usage ??= atEnd((ending) => known(ending).usage))
    },

    get end() {
      return (end ??= atEnd((ending) => known(ending) as RunEnd<Result>))
    },

    [Symbol.asyncIterator]: () => read('events'),
    text: () => read('text'),

    cancel({ reason = 'user', note, call, agent }: CancelOptions & Partial<CancelTarget> = {}): Promise<CancelResult> {
      const code = CANCEL_CODES[reason]
      const shortNote = note?.slice(0, 85)
      const id = call ?? agent
      if (id !== undefined) return stream.cancelPart({ type: id === call ? 'call' : 'agent', id }, code, shortNote)
      leave()
      stream.cancel(code, shortNote)
      return over.promise.then(cancelResult)
    },

    detach() {
      leave()
      stream.detach(new MillraceError('cancelled', 'this client left the run: attach to read on'))
    },

    pause: () => stream.setRate(0),
    resume: () => stream.setRate(perSec),

    throttle(to) {
      stream.setRate(to)
      perSec = to || null
    },

    send: (type, data) => quiet(stream.input(type, data)),
  }

  started?.add(run)
  signal?.addEventListener('abort', abort)
  connection.add(stream)
  if (signal?.aborted) abort()
  return run
}

function textOf(pieces: Piece[]): string {
  return pieces.map(({ text }) => text).join('')
}

/** The end of the run itself. */
function known(ending: StreamEnd): RunEnd {
  if (ending instanceof Error) throw ending
  return ending
}

/** What the reader's loop throws at this end, if anything. */
function failureOf(ending: StreamEnd): MillraceError | undefined {
  if (ending instanceof Error) return ending
  const { outcome, error, receipt } = ending
  if (error) return MillraceError.fromShape(error)
  if (outcome !== 'cancelled') return undefined
  return new MillraceError('cancelled', 'the run was cancelled', receipt && { receipt })
}

/** Refused, or lost: that says nothing of the run. */
function cancelResult(ending: StreamEnd): CancelResult {
  if (ending instanceof Error) return { confirmed: false, code: ending.code }
  const { outcome, seq, error, receipt } = ending
  if (error && seq === 0) return { confirmed: false, code: error.code }
  return { ...receipt, outcome, confirmed: true } as CancelResult
}

function incomplete(): MillraceError {
  return new MillraceError('interrupted', 'part of the text is missing: events tell which')
}

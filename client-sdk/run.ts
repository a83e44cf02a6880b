import { type ErrorShape, MillraceError } from '../protocol/errors.ts'
import type { RunEnd, StreamEvent } from '../protocol/events.ts'
import type { Attach, End, Start } from '../protocol/frames.ts'
import { CANCEL_CODES, type Receipt, type Usage } from '../protocol/receipt.ts'
import { type CancelOptions, type CancelResult, cancelResult } from './cancel.ts'
import type { Connection } from './connection.ts'
import { deferred, quiet } from './deferred.ts'
import { type Ending, type InputTaken, Stream } from './stream.ts'

/** What a run resolves with: what its actor returned, or the text it said when it returned nothing. */
export type Answer<Result> = unknown extends Result ? unknown : Result extends undefined | void ? string : Result

/** A place in a run's log. An application may keep it and attach behind it later. */
export type Position = { run: string; gen: number; seq: number }

/** The kinds of input that agents know. An actor may take others. */
export type InputType = 'message' | 'approve' | 'answer' | 'tool.result' | (string & {})

/** How a run is read: by a loop over its events or its text, or by nobody, for its result alone. */
type Reader = 'events' | 'text' | 'drain'

type Next = IteratorResult<unknown, undefined>

/**
 * One run as the client that started it, or attached to it, holds it. It has one reader: `for await` over its events,
 * over its `text()`, or nobody while only `result`, `usage` or `end` is awaited. A reader that does not read holds the
 * run back, unless its policy says otherwise.
 *
 * The loop ends when the run is done, or was cancelled or detached from here; it throws a `MillraceError` for an error,
 * and for a cancel by somebody else (`cancelled`, with the receipt). Leaving the loop cancels a run that was started here
 * and detaches from one that was attached to. Losing the connection does neither.
 */
export class Run<Data = unknown, Result = unknown> implements AsyncIterable<StreamEvent<Data>> {
  readonly #stream: Stream
  readonly #isStarted: boolean
  readonly #opened = deferred<{ id: string; gen: number }>()
  /** Resolves when the reader has come to the end, or has left and the stream is closed. */
  readonly #over = deferred<Ending>()
  #reader: Reader | undefined
  #hasRead = false
  /** The answer as far as it was read and still counts, and whether none of it is missing. */
  #text: { seq: number; text: string }[] = []
  #isWhole = true
  /** Calls of `next` that wait. */
  readonly #waiting: ((next: Next | Promise<Next>) => void)[] = []
  /** How the stream was closed; what waits in the inbox comes before. */
  #ending: Ending | undefined
  /** Nothing comes to the reader any more. */
  #isLeft = false
  #perSec: number | null
  #result: Promise<Answer<Result>> | undefined
  #usage: Promise<Usage | undefined> | undefined
  #end: Promise<RunEnd<Result>> | undefined

  /** @internal Runs are made by a client. */
  constructor(connection: Connection, request: Start | Attach, signal?: AbortSignal, closed?: () => void) {
    const abort = (): void => void this.cancel()
    this.#isStarted = request.kind === 'start'
    this.#perSec = request.options.rate || null
    this.#stream = new Stream(connection, request, {
      opened: (id, gen) => this.#opened.resolve({ id, gen }),
      arrived: () => this.#pump(),
      closed: (ending) => {
        signal?.removeEventListener('abort', abort)
        closed?.()
        this.#ending ??= ending
        this.#opened.reject(whyNot(ending))
        if (this.#isLeft) this.#finish()
        this.#pump()
      },
    })
    connection.add(this.#stream)
    if (signal?.aborted) abort()
    else signal?.addEventListener('abort', abort)
  }

  /** The run's id, once it is known: at once for one that was attached to, else when `opened` resolves. */
  get id(): string | undefined {
    return this.#stream.run
  }

  /** Resolves when the server has opened the run. Rejects with what prevented it. */
  get opened(): Promise<{ id: string; gen: number }> {
    return this.#opened.promise
  }

  /** The last item that was read. Undefined until the run is opened. */
  get position(): Position | undefined {
    const { run, inbox } = this.#stream
    const { readGen: gen, readSeq: seq } = inbox
    return run === undefined || gen === undefined ? undefined : { run, gen, seq }
  }

  /**
   * What the actor returned, else all text that was read. Without a reader, reading this drains the run. Rejects with the
   * run's error, with `cancelled` (and the receipt) after a cancel, with `interrupted` when text is missing.
   */
  get result(): Promise<Answer<Result>> {
    return (this.#result ??= this.#atEnd((ending) => {
      const { end } = ending
      if (end?.outcome !== 'done') throw whyNot(ending)
      if ('result' in end.data) return end.data['result'] as Answer<Result>
      if (!this.#isWhole) throw incomplete()
      return this.#text.map(({ text }) => text).join('') as Answer<Result>
    }))
  }

  /** What the run cost, as far as it is known, however it ended. Without a reader, reading this drains the run. */
  get usage(): Promise<Usage | undefined> {
    return (this.#usage ??= this.#atEnd((ending) => endOf(ending).data['usage'] as Usage | undefined))
  }

  /**
   * The run's one end. Rejects only when it is not known: the connection did not come back, or this view was detached.
   * Without a reader, reading this drains the run.
   */
  get end(): Promise<RunEnd<Result>> {
    return (this.#end ??= this.#atEnd((ending) => {
      const { outcome, seq, data } = endOf(ending)
      const end = { outcome, seq, ...('usage' in data ? { usage: data['usage'] } : {}) }
      const more = outcome === 'done' ? data : outcome === 'error' ? { error: data } : { receipt: data }
      return { ...end, ...more } as RunEnd<Result>
    }))
  }

  /** Reads the events. @throws MillraceError `already_reading` for a second reader. */
  [Symbol.asyncIterator](): AsyncIterableIterator<StreamEvent<Data>, undefined> {
    return this.#read('events')
  }

  /**
   * Reads the text of the answer only. It throws `interrupted` where text is missing, as a string cannot tell of a gap.
   * @throws MillraceError `already_reading` for a second reader.
   */
  text(): AsyncIterableIterator<string, undefined> {
    return this.#read('text')
  }

  /**
   * Stops the run, or with `call` or `agent` one part of it. The loop ends at once. Never rejects: resolves with the
   * receipt, with the outcome that came first, or with `confirmed: false`.
   */
  cancel({ reason = 'user', note, call, agent }: CancelOptions = {}): Promise<CancelResult> {
    const code = CANCEL_CODES[reason]
    const shortNote = note?.slice(0, 85)
    const part = call ?? agent
    if (part !== undefined) {
      return this.#stream.cancelPart({ type: call === undefined ? 'agent' : 'call', id: part }, code, shortNote)
    }
    this.#leave()
    this.#stream.cancel(code, shortNote)
    return this.#over.promise.then(cancelResult)
  }

  /** Stops reading and leaves the run to itself: what happens then is its `onDetach`. */
  detach(): void {
    this.#leave()
    this.#stream.detach()
  }

  /** Holds the items back, and with policy `pace` the actor. */
  pause(): void {
    this.#stream.setRate(0)
  }

  /** Ends a pause. */
  resume(): void {
    this.#stream.setRate(this.#perSec)
  }

  /** At most `perSec` items a second from now on; null lifts that. Ends a pause. */
  throttle(perSec: number | null): void {
    this.#stream.setRate(perSec)
    this.#perSec = perSec || null
  }

  /**
   * Says something to the run. Resolves when the run has it for good. Rejects with `not_found` (no longer wanted: somebody
   * else answered), `invalid_input` (the run takes no such input), `overloaded` (too many wait: try again later),
   * `forbidden`, or `connection_lost` when the stream ended before the answer came.
   */
  send(type: InputType, data: unknown): Promise<InputTaken> {
    return quiet(this.#stream.input(type, data))
  }

  #read<T>(reader: Reader): AsyncIterableIterator<T, undefined> {
    if (this.#reader && (this.#reader !== 'drain' || this.#hasRead)) {
      throw new MillraceError('already_reading', 'a run has one reader: attach to it for another')
    }
    this.#reader = reader
    return {
      next: () => this.#next() as Promise<IteratorResult<T, undefined>>,
      return: () => {
        if (this.#isStarted) void this.cancel()
        else this.detach()
        return Promise.resolve({ value: undefined, done: true })
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  #next(): Promise<Next> {
    const next = this.#poll()
    return next ? Promise.resolve(next) : new Promise((resolve) => this.#waiting.push(resolve))
  }

  #poll(): Next | Promise<Next> | undefined {
    const value = this.#take()
    if (value !== undefined) return { value, done: false }
    if (!this.#isLeft && !this.#ending) return undefined
    const failure = this.#isLeft ? undefined : failureOf(this.#ending)
    this.#finish()
    return failure ? Promise.reject(failure) : { value: undefined, done: true }
  }

  #take(): unknown {
    if (this.#isLeft) return undefined
    for (let event = this.#stream.take(); event; event = this.#stream.take()) {
      this.#hasRead = true
      if (event.type === 'token') this.#text.push(event)
      else if (event.type === 'gap' && event.reason !== 'policy') {
        if (event.from < event.next) this.#isWhole = false
        this.#text = this.#text.filter(({ seq }) => seq < event.next)
        if (this.#reader === 'text') {
          this.#ending = { error: incomplete() }
          this.#stream.detach()
          return undefined
        }
      }
      if (this.#reader !== 'text') return event
      if (event.type === 'token') return event.text
    }
    return undefined
  }

  /** Answers the reader as far as that can be done now. */
  #pump(): void {
    if (this.#reader === 'drain') {
      while (this.#take() !== undefined);
      if (this.#ending) this.#finish()
    }
    while (this.#waiting.length > 0) {
      const next = this.#poll()
      if (!next) return
      this.#waiting.shift()?.(next)
    }
  }

  /** Nothing more for the reader. What waits is dropped. */
  #leave(): void {
    this.#isWhole = false
    this.#finish()
    this.#pump()
  }

  #finish(): void {
    this.#isLeft = true
    if (this.#ending) this.#over.resolve(this.#ending)
  }

  #atEnd<T>(read: (ending: Ending) => T): Promise<T> {
    this.#reader ??= 'drain'
    this.#pump()
    return quiet(this.#over.promise.then(read))
  }
}

/** What the reader's loop throws for this end, if anything. */
function failureOf(ending: Ending | undefined): MillraceError | undefined {
  const { end, error } = ending ?? {}
  if (end?.outcome === 'error') return MillraceError.fromShape(end.data as ErrorShape)
  if (end?.outcome === 'cancelled') {
    return new MillraceError('cancelled', 'the run was cancelled', { receipt: end.data as Receipt })
  }
  return error
}

/** Why there is no result. */
function whyNot(ending: Ending): MillraceError {
  return failureOf(ending) ?? new MillraceError('cancelled', 'this client left the run, which goes on: attach to it')
}

function endOf(ending: Ending): End {
  if (!ending.end) throw whyNot(ending)
  return ending.end
}

function incomplete(): MillraceError {
  return new MillraceError('interrupted', 'part of the text is missing: events tell which')
}

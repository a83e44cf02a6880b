import { MillraceError } from '../protocol/errors.ts'
import type { StreamEvent } from '../protocol/events.ts'
import { AnswerText, cuts, incomplete, isAnswer } from './answer-text.ts'
import { deferred, quiet } from './deferred.ts'
import type { Stream, StreamEnd } from './stream.ts'

type Step = IteratorResult<unknown, undefined> | Promise<never>

/**
 * The one reader of a run: a loop over its events, a loop over its text, or a drain while only the end is awaited. A class
 * for the reason for which `Inbox` is one.
 */
export class Reader {
  /** The text of the answer, as far as it was read. */
  readonly text: AnswerText = new AnswerText()
  /** A stop was asked for that may be refused. If it is what ends the run, the loop ends as after `detach`. */
  isStopping = false
  readonly #stream: Pick<Stream, 'take' | 'detach'>
  /** The calls of `next` that wait for something to arrive, in order. */
  readonly #waiting: ((step: Step) => void)[] = []
  #use: 'events' | 'text' | 'drain' | undefined
  #hasRead = false
  #ending: StreamEnd | undefined
  /** The reader came to the end, or was detached. */
  #isOver = false
  /** A step closes the stream, which reports that: the step is not made yet. */
  #isDetaching = false
  readonly #over = deferred<StreamEnd>()
  readonly #onReturn: () => void

  /** @param onReturn The application has left the loop early. */
  constructor(stream: Pick<Stream, 'take' | 'detach'>, onReturn: () => void) {
    this.#stream = stream
    this.#onReturn = onReturn
  }

  /** The stream may have something new. */
  arrived(): void {
    if (this.#use === 'drain') {
      while (this.#take());
      if (this.#ending) this.#isOver = true
    }
    if (this.#isOver && this.#ending) this.#over.resolve(this.#ending)
    while (this.#waiting.length > 0 && !this.#isDetaching) {
      const ready = this.#step()
      if (!ready) return
      this.#waiting.shift()!(ready)
    }
  }

  /** The stream is closed. Items that wait come before this end. */
  closed(how: StreamEnd): void {
    this.#ending ??= how
    this.arrived()
  }

  /** Ends the loop now. Nothing more is read. Does nothing once the reader has come to the end. */
  detach(): void {
    if (this.#isOver) return
    this.text.lose(incomplete)
    this.#isOver = true
    this.arrived()
  }

  /** Begins the loop. @throws MillraceError `already_reading` for a second one. */
  read<T>(as: 'events' | 'text'): AsyncIterableIterator<T, undefined> {
    if (this.#use && (this.#use !== 'drain' || this.#hasRead))
      throw new MillraceError('already_reading', 'a run has one reader: attach for another')
    this.#use = as
    return {
      // Not an async function: what arrives resolves the promise itself, and no other one is made for a token.
      next: () => {
        const ready = this.#waiting.length > 0 ? undefined : this.#step()
        const next = ready ? Promise.resolve(ready) : new Promise<Step>((resolve) => void this.#waiting.push(resolve))
        return next as Promise<IteratorResult<T, undefined>>
      },
      return: async () => {
        this.#onReturn()
        return { value: undefined, done: true }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  /**
   * Resolves with `answer` of the end once the reader has come to the end, or was detached and the stream is closed.
   * Without a loop it drains the run.
   */
  end<T>(answer: (ending: StreamEnd) => T): Promise<T> {
    this.#use ??= 'drain'
    this.arrived()
    return quiet(this.#over.promise.then(answer))
  }

  #take(): StreamEvent | undefined {
    const event = this.#isOver ? undefined : this.#stream.take()
    if (event) {
      this.#hasRead = true
      this.text.read(event)
    }
    return event
  }

  /** The next step of the loop, or the rejection that ends it. Undefined while there is none. */
  #step(): Step | undefined {
    let failure: MillraceError | undefined
    for (;;) {
      const event = this.#take()
      if (!event) {
        if (!this.#isOver && !this.#ending) return undefined
        if (!this.#isOver && !(this.isStopping && 'receipt' in this.#ending!)) failure = failureOf(this.#ending!)
        break
      }
      if (this.#use === 'events') return { value: event, done: false }
      if (isAnswer(event)) return { value: event.text, done: false }
      if (cuts(event)) {
        failure = this.#ending = incomplete()
        this.#isDetaching = true
        this.#stream.detach(failure)
        this.#isDetaching = false
        break
      }
    }
    this.#isOver = true
    if (this.#ending) this.#over.resolve(this.#ending)
    return failure ? Promise.reject(failure) : { value: undefined, done: true }
  }
}

/** The error that this end is for a reader, if it is one. */
export function failureOf(ending: StreamEnd): MillraceError | undefined {
  if (ending instanceof Error) return ending
  const { outcome, error, receipt } = ending
  if (error) return MillraceError.fromShape(error)
  if (outcome !== 'cancelled') return undefined
  return new MillraceError('cancelled', 'the run was cancelled', receipt && { receipt })
}

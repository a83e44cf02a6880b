import { MillraceError } from '../protocol/errors.ts'
import type { StreamEvent } from '../protocol/events.ts'
import { type AnswerText, createAnswerText, cuts, incomplete, isAnswer } from './answer-text.ts'
import { deferred, quiet } from './deferred.ts'
import type { Stream, StreamEnd } from './stream.ts'

type Step = IteratorResult<unknown, undefined> | Promise<never>

/** The one reader of a run: a loop over its events, a loop over its text, or a drain while only the end is awaited. */
export interface Reader {
  /** The stream may have something new. */
  arrived(): void
  /** The stream is closed. Items that wait come before this end. */
  closed(ending: StreamEnd): void
  /** Ends the loop now. Nothing more is read. Does nothing once the reader has come to the end. */
  detach(): void
  /** A stop was asked for that may be refused. If it is what ends the run, the loop ends as after `detach`. */
  isStopping: boolean
  /** Begins the loop. @throws MillraceError `already_reading` for a second one. */
  read<T>(as: 'events' | 'text'): AsyncIterableIterator<T, undefined>
  /** The text of the answer, as far as it was read. */
  readonly text: AnswerText
  /**
   * Resolves with `answer` of the end once the reader has come to the end, or was detached and the stream is closed.
   * Without a loop it drains the run.
   */
  end<T>(answer: (ending: StreamEnd) => T): Promise<T>
}

/** @param onReturn The application has left the loop early. */
export function createReader(stream: Pick<Stream, 'take' | 'detach'>, onReturn: () => void): Reader {
  const over = deferred<StreamEnd>()
  /** The calls of `next` that wait for something to arrive, in order. */
  const waiting: ((step: Step) => void)[] = []
  const text = createAnswerText()
  let use: 'events' | 'text' | 'drain' | undefined
  let hasRead = false
  let ending: StreamEnd | undefined
  /** The reader came to the end, or was detached. */
  let isOver = false
  /** A step closes the stream, which reports that: the step is not made yet. */
  let isDetaching = false

  const take = (): StreamEvent | undefined => {
    const event = isOver ? undefined : stream.take()
    if (event) {
      hasRead = true
      text.read(event)
    }
    return event
  }

  const arrived = (): void => {
    if (use === 'drain') {
      while (take());
      if (ending) isOver = true
    }
    if (isOver && ending) over.resolve(ending)
    while (waiting.length > 0 && !isDetaching) {
      const ready = step()
      if (!ready) return
      waiting.shift()!(ready)
    }
  }

  /** The next step of the loop, or the rejection that ends it. Undefined while there is none. */
  const step = (): Step | undefined => {
    let failure: MillraceError | undefined
    for (;;) {
      const event = take()
      if (!event) {
        if (!isOver && !ending) return undefined
        if (!isOver && !(reader.isStopping && 'receipt' in ending!)) failure = failureOf(ending!)
        break
      }
      if (use === 'events') return { value: event, done: false }
      if (isAnswer(event)) return { value: event.text, done: false }
      if (cuts(event)) {
        failure = ending = incomplete()
        isDetaching = true
        stream.detach(failure)
        isDetaching = false
        break
      }
    }
    isOver = true
    if (ending) over.resolve(ending)
    return failure ? Promise.reject(failure) : { value: undefined, done: true }
  }

  const reader: Reader = {
    text,
    arrived,
    isStopping: false,

    closed(how) {
      ending ??= how
      arrived()
    },

    detach() {
      if (isOver) return
      text.lose(incomplete())
      isOver = true
      arrived()
    },

    read<T>(as: 'events' | 'text'): AsyncIterableIterator<T, undefined> {
      if (use && (use !== 'drain' || hasRead))
        throw new MillraceError('already_reading', 'a run has one reader: attach for another')
      use = as
      return {
        // Not an async function: what arrives resolves the promise itself, and no other one is made for a token.
        next() {
          const ready = waiting.length > 0 ? undefined : step()
          const next = ready ? Promise.resolve(ready) : new Promise<Step>((resolve) => void waiting.push(resolve))
          return next as Promise<IteratorResult<T, undefined>>
        },
        async return() {
          onReturn()
          return { value: undefined, done: true }
        },
        [Symbol.asyncIterator]() {
          return this
        },
      }
    },

    end(answer) {
      use ??= 'drain'
      arrived()
      return quiet(over.promise.then(answer))
    },
  }
  return reader
}

/** The error that this end is for a reader, if it is one. */
export function failureOf(ending: StreamEnd): MillraceError | undefined {
  if (ending instanceof Error) return ending
  const { outcome, error, receipt } = ending
  if (error) return MillraceError.fromShape(error)
  if (outcome !== 'cancelled') return undefined
  return new MillraceError('cancelled', 'the run was cancelled', receipt && { receipt })
}

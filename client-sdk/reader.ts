import { MillraceError } from '../protocol/errors.ts'
import type { StreamEvent } from '../protocol/events.ts'
import { type AnswerText, createAnswerText, cuts, incomplete, isAnswer } from './answer-text.ts'
import { deferred, quiet } from './deferred.ts'
import type { Stream, StreamEnd } from './stream.ts'

/** The one reader of a run: a loop over its events, a loop over its text, or a drain while only the end is awaited. */
export interface Reader {
  /** The stream may have something new. */
  arrived(): void
  /** The stream is closed. Items that wait come before this end. */
  closed(ending: StreamEnd): void
  /** Ends the loop now. Nothing more is read. Does nothing once the reader has come to the end. */
  detach(): void
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
  /** Calls of `next` that wait for something to arrive. */
  const waiting: (() => void)[] = []
  const text = createAnswerText()
  let use: 'events' | 'text' | 'drain' | undefined
  let hasRead = false
  let ending: StreamEnd | undefined
  /** The reader came to the end, or was detached. */
  let isOver = false

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
    for (const wake of waiting.splice(0)) wake()
  }

  return {
    text,
    arrived,

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
        async next() {
          for (;;) {
            const event = take()
            if (!event) {
              if (isOver || ending) break
              await new Promise<void>((resolve) => waiting.push(resolve))
            } else if (as === 'events') return { value: event as T, done: false }
            else if (isAnswer(event)) return { value: event.text as T, done: false }
            else if (cuts(event)) {
              stream.detach((ending = incomplete()))
              break
            }
          }
          const failure = isOver ? undefined : failureOf(ending!)
          isOver = true
          arrived()
          if (failure) throw failure
          return { value: undefined, done: true }
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
}

/** The error that this end is for a reader, if it is one. */
export function failureOf(ending: StreamEnd): MillraceError | undefined {
  if (ending instanceof Error) return ending
  const { outcome, error, receipt } = ending
  if (error) return MillraceError.fromShape(error)
  if (outcome !== 'cancelled') return undefined
  return new MillraceError('cancelled', 'the run was cancelled', receipt && { receipt })
}

import { MillraceError } from '../protocol/errors.ts'
import type { GapEvent, StreamEvent } from '../protocol/events.ts'
import { MAX_MARKS, MAX_UNASKED } from './own-limits.ts'

/** The text of an answer, as far as it was read and still counts. Text of the run's sub-agents is not part of it. */
export interface AnswerText {
  /** Whether all text is kept, however long it is. Otherwise it is dropped when it exceeds `MAX_UNASKED` characters. */
  isAsked: boolean
  /** Takes over the next event that was read. */
  read(event: StreamEvent): void
  /** Drops the text, and keeps the reason. */
  lose(reason: MillraceError): void
  /** @throws MillraceError `interrupted` when text is missing, `already_reading` when it was not kept. */
  toString(): string
}

export function createAnswerText(): AnswerText {
  let loss: MillraceError | undefined
  /** Text that no rewind can take back. It ends with item `settledSeq`. */
  let settled = ''
  let settledSeq = 0
  /** The texts behind it, and the numbers of their items. Two arrays, so that a token needs no object of its own. */
  const texts: string[] = []
  const seqs: number[] = []

  const answer: AnswerText = {
    isAsked: false,

    read(event) {
      if (loss) return
      if (isAnswer(event)) {
        seqs.push(event.seq)
        if (texts.push(event.text) <= MAX_MARKS) return
        settled += texts.splice(0, MAX_MARKS / 2).join('')
        settledSeq = seqs.splice(0, MAX_MARKS / 2).at(-1)!
        if (settled.length > MAX_UNASKED && !answer.isAsked)
          answer.lose(new MillraceError('already_reading', 'text is not kept: ask for result first'))
      } else if (cuts(event)) {
        const { from, next } = event
        if (from < next || next <= settledSeq) answer.lose(incomplete())
        while (seqs.at(-1)! >= next) {
          seqs.pop()
          texts.pop()
        }
      }
    },

    lose(reason) {
      loss = reason
      settled = ''
      texts.length = seqs.length = 0
    },

    toString() {
      if (loss) throw loss
      return settled + texts.join('')
    },
  }
  return answer
}

/** Whether the event is a text of the run's own answer. One that it passes on from a sub-agent names the agent. */
export function isAnswer(event: StreamEvent): event is Extract<StreamEvent, { type: 'token' }> {
  return event.type === 'token' && event.agent === undefined
}

/** Whether items before this event are missing or void. Those that the reader's policy skips are neither. */
export function cuts(event: StreamEvent): event is GapEvent & StreamEvent {
  return event.type === 'gap' && event.reason !== 'policy'
}

/** The error of a reader that wanted all text. */
export function incomplete(): MillraceError {
  return new MillraceError('interrupted', 'text is missing: read the events')
}

import { MillraceError } from '../protocol/errors.ts'
import type { GapEvent, StreamEvent } from '../protocol/events.ts'
import { MAX_MARKS, MAX_UNASKED } from './own-limits.ts'

/** The text of an answer, as far as it was read and still counts. Text of the run's sub-agents is not part of it. */
export class AnswerText {
  /** Whether all text is kept, however long it is. Otherwise it is dropped when it exceeds `MAX_UNASKED` characters. */
  isAsked = false
  #loss: (() => MillraceError) | undefined
  #settledSeq = 0
  /** The texts of the items behind `settledSeq`, each at its place: a token needs nothing of its own besides. */
  readonly #texts: string[] = []
  /** Text that no rewind can take back. It ends with item `settledSeq`. */
  #settled = ''

  /** Takes over the next event that was read. */
  read(event: StreamEvent): void {
    if (this.#loss) return
    if (isAnswer(event)) {
      const drop = event.seq - this.#settledSeq - MAX_MARKS / 2
      if (drop > MAX_MARKS / 2) {
        this.#settled += this.#texts.splice(0, drop).join('')
        this.#settledSeq += drop
        if (this.#settled.length > MAX_UNASKED && !this.isAsked)
          return this.lose(() => new MillraceError('already_reading', 'text is not kept: ask for result first'))
      }
      this.#texts[event.seq - this.#settledSeq - 1] = event.text
    } else if (cuts(event)) {
      const { from, next } = event
      if (from < next || next <= this.#settledSeq) this.lose(incomplete)
      else this.#texts.splice(next - this.#settledSeq - 1)
    }
  }

  /** Drops the text, and keeps the reason. Its error is made for who asks: recording its stack is expensive. */
  lose(reason: () => MillraceError): void {
    this.#loss = reason
    this.#settled = ''
    this.#texts.length = 0
  }

  /** @throws MillraceError `interrupted` when text is missing, `already_reading` when it was not kept. */
  toString(): string {
    if (this.#loss) throw this.#loss()
    return this.#settled + this.#texts.join('')
  }
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

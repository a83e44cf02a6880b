import { MillraceError } from '../protocol/errors.ts'
import type { GapEvent, StreamEvent } from '../protocol/events.ts'
import { MAX_MARKS } from './own-limits.ts'

/** The text of an answer, as far as it was read and still counts. */
export class AnswerText {
  /** False once text is missing. */
  isWhole = true
  #text = ''
  /** The length of the text behind each of the last items. A rewind cuts it there. */
  #marks = [{ seq: 0, length: 0 }]

  /** Takes over the next event that was read. */
  read(event: StreamEvent): void {
    if (event.type === 'token') {
      const { length } = (this.#text += event.text)
      if (this.#marks.push({ seq: event.seq, length }) > MAX_MARKS) this.#marks.splice(0, MAX_MARKS / 2)
    }
    if (cuts(event)) {
      const { from, next } = event
      this.#marks = this.#marks.filter(({ seq }) => seq < next)
      const last = this.#marks.at(-1)
      if (from < next || !last) this.isWhole = false
      this.#text = this.#text.slice(0, last?.length)
    }
  }

  /** @throws MillraceError `interrupted` when text is missing. */
  toString(): string {
    if (!this.isWhole) throw incomplete()
    return this.#text
  }
}

/** Whether items before this event are missing or void. Those that the reader's policy skips are neither. */
export function cuts(event: StreamEvent): event is GapEvent & StreamEvent {
  return event.type === 'gap' && event.reason !== 'policy'
}

/** The error of a reader that wanted all text. */
export function incomplete(): MillraceError {
  return new MillraceError('interrupted', 'text is missing: read the events')
}

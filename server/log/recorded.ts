import type { RunEvent } from '../../protocol/events.ts'
import type { Outcome, WireMap } from '../../protocol/frames.ts'

/** What an item of a log is, as it travels: a text on its lane, or an event. */
export type RecordedContent =
  | { readonly lane: number; readonly text: string }
  | { readonly type: number | string; readonly data: WireMap }

/** An item of another log that is logged again as it was, with the lanes that it had there. */
export class RecordedItem {
  readonly content: RecordedContent
  /** What consumers see of it. Undefined for the start and the end of a lane. */
  readonly event: RunEvent | undefined

  constructor(content: RecordedContent, event: RunEvent | undefined) {
    this.content = content
    this.event = event
  }
}

/** The end of another run, as the result of an actor: its own run ends in the same way. */
export class RecordedEnd {
  readonly outcome: Exclude<Outcome, 'unsubscribed'>
  readonly data: WireMap

  constructor(outcome: Exclude<Outcome, 'unsubscribed'>, data: WireMap) {
    this.outcome = outcome
    this.data = data
  }
}

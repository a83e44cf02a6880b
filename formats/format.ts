import type { RunEnd, StreamEvent } from '../protocol/events.ts'

/**
 * A run in the words of another protocol: a state machine that takes the events of one run, in order, and returns what
 * a reader of that protocol gets for each. It does no I/O and knows no clock, so both ends use the same one.
 *
 * Whatever it takes, everything that it has returned so far is valid in that protocol, and `end` completes it.
 *
 * @typeParam Piece What the other protocol sends: a chunk or an event.
 */
export interface Format<Piece> {
  /**
   * The reader of that protocol gets nothing more, because the protocol has to end its answer here, such as for an
   * approval. The run goes on: the reader leaves it.
   */
  readonly isOver: boolean
  /** Returns what comes before the first event. Call it once, first. */
  begin(): Piece[]
  /** Returns what an event becomes: often nothing, and at times several pieces. */
  take(event: StreamEvent): Piece[]
  /** Returns what the end of the run becomes. Call it last. Nothing, where the answer is over already. */
  end(how: RunEnd): Piece[]
}

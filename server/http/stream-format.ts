import type { MillraceError } from '../../protocol/errors.ts'
import type { RunEnd, StreamEvent } from '../../protocol/events.ts'
import type { WireMap } from '../../protocol/frames.ts'

/** What a stream begins with. */
export type StreamOpening = {
  readonly run: string
  readonly actor: string
  /** The life of the log, and the first item that may come. */
  readonly gen: number
  readonly next: number
  /** The id of the stream, for the rate. */
  readonly stream: string
  /** The data of each request that waits for its answer. */
  readonly pending: readonly WireMap[]
}

/**
 * Writes what is read of a run as the text of a response. An empty text writes nothing. One format serves one response,
 * so it may keep state.
 */
export interface StreamFormat {
  /** The media type of the response. */
  readonly type: string
  /** Further headers of the response. */
  readonly headers?: { readonly [name: string]: string }
  /** Keeps the connection alive while there is nothing to say. */
  readonly heartbeat: string
  /** @param id the position at which the stream begins. */
  begin(opening: StreamOpening, id: string): string
  /** @param id the position behind this event. */
  event(event: StreamEvent, id: string): string
  /** The answer is over before the run is: nothing comes behind the last event, and the run goes on. Default false. */
  readonly isOver?: boolean
  /** The end of the run. Nothing comes behind it. */
  end(end: RunEnd, id: string): string
  /** The stream ends before the run does. Nothing comes behind it. */
  fail(error: MillraceError): string
}

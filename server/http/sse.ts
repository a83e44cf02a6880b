import { jsonOf } from '../../formats/plain-text.ts'
import type { MillraceError } from '../../protocol/errors.ts'
import type { RunEnd, StreamEvent } from '../../protocol/events.ts'
import type { StreamFormat, StreamOpening } from './stream-format.ts'

export const EVENT_STREAM = 'text/event-stream'
/** How long an `EventSource` waits before it connects again, in milliseconds. */
const RETRY_MS = 1_000
/** A comment, which readers skip. */
export const SSE_HEARTBEAT = ':\n\n'

/** One server-sent event. `data` has no line break. */
export function sseEvent(fields: { id?: string; event?: string; data: string }): string {
  const { id, event, data } = fields
  return `${id === undefined ? '' : `id: ${id}\n`}${event === undefined ? '' : `event: ${event}\n`}data: ${data}\n\n`
}

/**
 * Events of a run as server-sent events. An event of the run has no name, so that `onmessage` gets it; what is about the
 * stream has one: `opened`, `end` and `closed`.
 */
export class RunEventFormat implements StreamFormat {
  readonly type: string = `${EVENT_STREAM}; charset=utf-8`
  readonly heartbeat: string = SSE_HEARTBEAT

  begin(opening: StreamOpening, id: string): string {
    return `retry: ${RETRY_MS}\n${sseEvent({ id, event: 'opened', data: jsonOf(opening) })}`
  }

  event(event: StreamEvent, id: string): string {
    return sseEvent({ id, data: 'text' in event ? JSON.stringify(event) : jsonOf(event) })
  }

  end(end: RunEnd, id: string): string {
    return sseEvent({ id, event: 'end', data: jsonOf(end) })
  }

  fail(error: MillraceError): string {
    return sseEvent({ event: 'closed', data: jsonOf(error) })
  }
}

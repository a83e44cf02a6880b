import { MillraceError } from '../../protocol/errors.ts'
import type { RunEnd } from '../../protocol/events.ts'
import type { Outcome, WireMap } from '../../protocol/frames.ts'
import { readReceipt, type Usage } from '../../protocol/receipt.ts'
import { unpackPayload } from './payload.ts'

/**
 * The end of a run, as logged. A run has exactly one. Only its packed data is kept: an ended run is kept for a while, and
 * the objects of its actor would weigh many times as much as what they became on the wire.
 */
export type LoggedEnd = {
  readonly seq: number
  readonly outcome: Exclude<Outcome, 'unsubscribed'>
  readonly packed: Uint8Array
}

/** Returns a copy of the data of an end, as a client receives it. */
export function endData({ packed }: LoggedEnd): WireMap {
  return unpackPayload(packed) as WireMap
}

/** Returns an end as a consumer reads it. */
export function runEndOf(end: LoggedEnd): RunEnd {
  const { outcome, seq } = end
  const data = endData(end)
  const { usage } = data as { usage?: Usage }
  // `client-sdk/stream.ts` does the same with what it receives: to share these lines would put the client over its size.
  const facts = outcome === 'done' ? data : outcome === 'error' ? { error: data } : { receipt: readReceipt(data) }
  return { outcome, seq, ...(usage && { usage }), ...facts }
}

/** Returns the error that an end other than `done` throws. */
export function errorOf(end: LoggedEnd): MillraceError {
  const { outcome } = end
  const data = endData(end)
  if (outcome === 'error') return MillraceError.fromShape(data as ReturnType<MillraceError['toJSON']>)
  return new MillraceError('cancelled', 'the run was cancelled', {
    receipt: readReceipt(data),
  })
}

import type { CancelReason, Receipt } from '../protocol/receipt.ts'
import type { Ending } from './stream.ts'

export type CancelOptions = {
  /** Default `user`. */
  reason?: CancelReason
  /** For people, on the receipt. Cut after 85 characters. */
  note?: string
  /** Stops this one tool call; the run goes on. */
  call?: string
  /** Stops this one sub-agent; the run goes on. */
  agent?: string
}

/**
 * What a cancel did. It can lose the race: the outcome is then the one that came first. Not `confirmed`: the connection
 * did not come back to answer, or the cancel was refused; `code` says which.
 */
export type CancelResult =
  | ({ outcome: 'cancelled'; confirmed: true } & Receipt)
  | { outcome: 'done' | 'error'; confirmed: true }
  | { confirmed: false; code?: string }

/** What a cancel comes to when its stream ends so. An END without a number refused the stream, and says nothing of the run. */
export function cancelResult({ end, error }: Ending): CancelResult {
  if (end?.outcome === 'cancelled') return { ...(end.data as Receipt), outcome: 'cancelled', confirmed: true }
  if (end && end.seq > 0) return { outcome: end.outcome as 'done', confirmed: true }
  const code = error?.code ?? end?.data['code']
  return code === undefined ? { confirmed: false } : { confirmed: false, code: code as string }
}

import type { CancelReason, Receipt } from '../protocol/receipt.ts'

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
  | { confirmed: false; code: string }

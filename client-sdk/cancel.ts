import type { CancelReason, Receipt, TargetReceipt } from '../protocol/receipt.ts'

export type CancelOptions = {
  /** Default `user`. */
  reason?: CancelReason
  /** For people, on the receipt. Cut after 85 characters. */
  note?: string
}

/** Which part of a run to stop: a tool call or a sub-agent, by its id. */
export type CancelTarget = { call: string; agent?: never } | { agent: string; call?: never }

/** What a cancel did, with the receipt of what it stopped. */
type Cancelled<Of> =
  | ({ outcome: 'cancelled'; confirmed: true } & Of)
  | { outcome: 'done' | 'error'; confirmed: true }
  | { confirmed: false; code: string }

/**
 * What a cancel did. It can lose the race: the outcome is then the one that came first. Not `confirmed`: the connection
 * did not come back to answer, or the cancel was refused; `code` says which.
 */
export type CancelResult = Cancelled<Receipt>

/** What the cancel of one tool call or sub-agent did. `not_found`: nothing of that id goes on any more. */
export type TargetCancelResult = Cancelled<TargetReceipt>

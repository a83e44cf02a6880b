import type { CancelReason, Receipt, TargetReceipt } from '../protocol/receipt.ts'

/** The options of `cancel`. */
export type CancelOptions = {
  /** Default `user`. */
  reason?: CancelReason | undefined
  /** A note for people, on the receipt. Cut after 85 characters (UTF-16 code units). */
  note?: string | undefined
  /**
   * The `seq` of the last item that the user saw. The run is stopped only if its agent has begun no turn since then;
   * otherwise the result is `confirmed: false` with the code `stale`, and the run and its loop go on. Not for a target.
   * Default: the run is stopped in any case.
   */
  ifSeq?: number | undefined
  /**
   * Whether the children of the run are stopped, too. `false`: each goes on as a run of its own, on the list of its
   * principal, and the receipt names it in `continuing`. A server that is too old for that answers `confirmed: false`
   * with the code `unsupported`, and nothing is stopped. Not for a target. Default true.
   */
  cascade?: boolean | undefined
}

/** The target to stop: one tool call or one sub-agent of a run, by its id. */
export type CancelTarget = { call: string; agent?: never } | { agent: string; call?: never }

type Cancelled<Of> =
  | ({ outcome: 'cancelled'; confirmed: true } & Of)
  | { outcome: 'done' | 'error'; confirmed: true }
  | { confirmed: false; code: string }

/**
 * The result of a cancel, with the receipt. If the run ended before the cancel reached it, `outcome` is `done` or
 * `error`. Without confirmation `code` says why: `connection_lost`, or the refusal's code, such as `forbidden`.
 */
export type CancelResult = Cancelled<Receipt>

/** The result of a cancel of a target. `not_found`: no tool call or sub-agent of that id goes on any more. */
export type TargetCancelResult = Cancelled<TargetReceipt>

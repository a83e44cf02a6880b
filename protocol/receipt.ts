/** What a run cost, as far as its providers said. Tokens, unless named otherwise. */
export type Usage = {
  input: number
  output: number
  cached?: number
  thinking?: number
  /** In the currency of the server's configuration. */
  cost?: number
}

/** Why a run was cancelled: the wire's numbers by name. */
export const CANCEL_CODES = {
  unspecified: 0,
  user: 1,
  superseded: 2,
  navigation: 3,
  policy: 4,
  detached: 5,
  parent: 6,
} as const

export type CancelReason = keyof typeof CANCEL_CODES

/** What a cancel did to one tool call or sub-agent: sent with its result, while the run goes on. */
export type TargetReceipt = {
  /** One of `CANCEL_CODES`. */
  code: number
  by: 'client' | 'server' | 'parent'
  note?: string
  /** True when all that was stopped (of a run: its actor, tools and provider requests) had finished before it was told. */
  settled: boolean
  /** From the cancel to its end, in milliseconds. */
  ms: number
}

/** What a cancel did: sent with the end of a cancelled run. */
export type Receipt = TargetReceipt & {
  /** What had not finished when the grace was over: `actor`, `provider` or tool call ids. */
  unsettled: string[]
  /** `closed`: a provider request was open and its socket was closed. `open`: it would not close in time. `none`: none was open. */
  provider: 'closed' | 'open' | 'none'
  /** Ids of the tool calls that were stopped. */
  tools: string[]
  /** `exact` is false when a provider was cut off before it stated its usage: `output` then counts the texts that came. */
  usage?: Usage & { exact: boolean }
  /** The last item of the run: up to here the text is kept. */
  kept: number
}

/** Who cancels, and why. */
export type CancelCause = Pick<Receipt, 'by' | 'code'> & { note?: string | undefined }

/** The usage of a run, as reported by its providers. In tokens, unless noted otherwise. */
export type Usage = {
  /** Tokens of the input. */
  input: number
  /** Tokens of the output, with those of thinking. */
  output: number
  /** Tokens of the input that the provider had cached. */
  cached?: number
  /** Tokens of thinking. */
  thinking?: number
  /** The price, in the currency of the server's configuration. */
  cost?: number
}

/** What a run has cost, with its children. */
export type RunUsage = Usage & {
  /**
   * False if a provider was cut off before it reported usage. `output` then counts the texts received, and `input` is
   * estimated from the size of the request. Default: true.
   */
  exact?: boolean
}

/** Adds a usage to a sum. */
export function addUsage(sum: Usage, usage: Usage): void {
  sum.input += usage.input
  sum.output += usage.output
  for (const part of ['cached', 'thinking', 'cost'] as const) {
    const n = usage[part]
    if (n !== undefined) sum[part] = (sum[part] ?? 0) + n
  }
}

/** The reasons of a cancel: their numbers on the wire, by name. */
export const CANCEL_CODES = {
  unspecified: 0,
  user: 1,
  superseded: 2,
  navigation: 3,
  policy: 4,
  detached: 5,
  parent: 6,
  timeout: 7,
} as const

/** The name of a reason of a cancel. */
export type CancelReason = keyof typeof CANCEL_CODES

/** The result of cancelling a target, which is a tool call or sub-agent. It is sent with the target's own result. */
export type TargetReceipt = {
  /** The reason of the cancel. A reason of the application, which is a number on the wire, is given in digits: `'77'`. */
  reason: CancelReason | `${number}`
  /** The side that cancelled. `parent`: the run that started the target. */
  by: 'client' | 'server' | 'parent'
  /** The note of the cancel, for people. */
  note?: string
  /** Whether all that was stopped (of a run: actor, tools, provider requests) had finished before this was sent. */
  settled: boolean
  /** From the cancel to the end, in milliseconds. */
  ms: number
  /**
   * Ids of the children that go on, each as a run of its own: those that are detached, and all of them after a cancel
   * with `cascade: false`. Of very many the first. Absent: none.
   */
  continuing?: string[]
}

/** The result of cancelling a run, sent with its end. */
export type Receipt = TargetReceipt & {
  /** Everything that had not finished within `cancelGraceMs`: `actor`, `provider` or tool call ids. */
  unsettled: string[]
  /**
   * `closed`: a provider request was open, and its socket was closed. `open`: its socket did not close in time. `none`:
   * no request was open.
   */
  provider: 'closed' | 'open' | 'none'
  /** Ids of the tool calls that were stopped. */
  tools: string[]
  /**
   * `exact`: false if a provider was cut off before it reported usage. `output` then counts the texts received, and
   * `input` is estimated from the size of the request, at 4 bytes a token.
   */
  usage?: Usage & { exact: boolean }
  /** The last item of the run. Text up to here is kept. */
  kept: number
}

/** The side that cancels, the number of its reason, and whether children are stopped as well (default true). */
export type CancelCause = Pick<Receipt, 'by'> & {
  code: number
  note?: string | undefined
  cascade?: boolean | undefined
}

/** A receipt as it is sent: with the number of its reason. */
export type Sent<R extends TargetReceipt> = Omit<R, 'reason'> & { code: number }

const REASONS = Object.keys(CANCEL_CODES)

/** Returns a receipt, of a run or of a target, as a peer reads it from the data that was sent. */
export function readReceipt(sent: object): Receipt {
  const { code, ...rest } = sent as Sent<Receipt>
  return { reason: (REASONS[code] as CancelReason | undefined) ?? `${code}`, ...rest }
}

/** Returns the data in which a receipt is sent. */
export function writeReceipt<R extends TargetReceipt>({ reason, ...rest }: R): Sent<R> {
  return { code: CANCEL_CODES[reason as CancelReason] ?? (Number(reason) || 0), ...rest }
}

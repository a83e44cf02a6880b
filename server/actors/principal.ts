/**
 * A right over the runs of others. `observe`: to attach to them without pacing them, and to see all runs in an
 * inspector. `cancel`: to cancel them. `approve`: to answer their questions. A function of your own that decides (`authorize`) may use words of its own.
 */
export type Right = 'observe' | 'cancel' | 'approve' | (string & {})

/** The owner of runs, as `authenticate` identifies a client. Connections with the same `id` share their runs. */
export type Principal = {
  /** Names the principal. Never empty. */
  readonly id: string
  /** What the principal may do with the runs of others. Default: nothing. */
  readonly rights?: readonly Right[] | undefined
  /**
   * A name for principals that share limits, such as the guests of one address. Each has its own limits, and together they
   * have those of `limits.principalsPerPool` principals. Default: none.
   */
  readonly pool?: string | undefined
}

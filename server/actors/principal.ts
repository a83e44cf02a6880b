/** The owner of runs, as `authenticate` identifies a client. Connections with the same `id` share their runs. */
export type Principal = {
  /** Names the principal. Never empty. */
  readonly id: string
  /** `observe`: may attach to runs of others without pacing them, and sees all runs in an inspector. Default: none. */
  readonly rights?: readonly 'observe'[]
}

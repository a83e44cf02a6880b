/** Who a client is, as `authenticate` said. Two connections with the same `id` share their runs. */
export type Principal = {
  readonly id: string
  /** `observe`: may attach to runs of others, without pacing them, and is told of all of them by an inspector. */
  readonly rights?: readonly 'observe'[]
}

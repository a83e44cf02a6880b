import type { OnDetach, WireMap } from '../../protocol/frames.ts'

/** What a client, or the actor of its parent, says about a run besides its input. */
export type RunOptions = {
  onDetach: OnDetach
  detachMs: number | undefined
  timeoutMs: number | undefined
  meta: WireMap | undefined
  /** Whether to run the actor's `ask`, if it has one. */
  ask: boolean
}

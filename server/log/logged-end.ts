import { MillraceError } from '../../protocol/errors.ts'
import type { Outcome, WireMap } from '../../protocol/frames.ts'

/** The end of a run, as logged. A run has exactly one. */
export type LoggedEnd = {
  readonly seq: number
  readonly outcome: Exclude<Outcome, 'unsubscribed'>
  readonly data: WireMap
  readonly packed: Uint8Array
}

/** Returns the error that an end other than `done` throws. */
export function errorOf({ outcome, data }: LoggedEnd): MillraceError {
  if (outcome === 'error') return MillraceError.fromShape(data as ReturnType<MillraceError['toJSON']>)
  return new MillraceError('cancelled', 'the run was cancelled', {
    receipt: data as NonNullable<MillraceError['receipt']>,
  })
}

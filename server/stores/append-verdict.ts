import type { Append, AppendRefusal } from './run-store.ts'

/** What a store knows of a run when it decides about an append. */
export type AppendState = {
  readonly gen: number
  /** The number of the next item. */
  readonly next: number
  /** The `seq` of the end, once there is one. */
  readonly endSeq: number | undefined
}

/**
 * What becomes of an append: `new` is to be stored; `repeated` was stored before, and is no error.
 * @param run Undefined when there is no such run.
 * @param gen The life that appends.
 */
export function verdictOf(
  run: AppendState | undefined,
  gen: number,
  { batch, end }: Append,
): 'new' | 'repeated' | AppendRefusal {
  if (run?.gen !== gen) return 'fenced'
  const isSameEnd = end !== undefined && end.seq === run.endSeq
  if (batch ? batch.last < run.next && (!end || isSameEnd) : isSameEnd) return 'repeated'
  if (run.endSeq !== undefined) return 'ended'
  const first = batch?.first ?? end?.seq ?? run.next
  return first !== run.next ? 'gap' : 'new'
}

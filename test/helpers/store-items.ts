import type { Batch } from '../../server/stores/run-store.ts'

/** The items after which a run ends. */
export const ITEMS = 400

/** A batch whose bytes follow from its numbers. */
export function itemsOf(run: string, gen: number, first: number, last: number): Batch {
  const bodies = new TextEncoder().encode(
    Array.from({ length: last - first + 1 }, (_, n) => `${run}:${first + n};`).join(''),
  )
  return { gen, first, last, at: 1_700_000_000_000 + first, index: Uint8Array.of(last - first), bodies }
}

/** The end of such a run. */
export const END = { seq: ITEMS + 1, outcome: 'done', packed: Uint8Array.of(1, 2, 3) } as const

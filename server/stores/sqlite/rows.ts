import { pack, unpack } from 'msgpackr'
import type { Batch } from '../run-store.ts'
import type { Value } from './messages.ts'

/** A batch of a row that has several, all of one life. */
export type RowBatch = readonly [
  first: number,
  last: number,
  at: number,
  index: Uint8Array,
  bodies: Uint8Array,
  open: Uint8Array | null,
]

/** A row of the table `batches`, as it is read. One of several batches has all of them in `positions`, packed. */
export type BatchesRow = Omit<Batch, 'index' | 'open'> & {
  readonly count: number
  readonly positions: Uint8Array
  readonly open: Uint8Array | null
}

/** Adds the row of `rowOf`. */
export const ADD_ROW = `INSERT INTO batches (run, gen, first, last, at, count, positions, bodies, open, bytes)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)`
/** What the batches of a row added to their run. Older releases did not say so. */
export const BYTES_OF_ROW = 'coalesce(bytes, length(positions) + length(bodies) + coalesce(length(open), 0))'

const NO_BYTES = new Uint8Array(0)

/** The parameters of a row that has these batches, which are adjacent. @param bytes that they add to their run. */
export function rowOf(run: number, gen: number, batches: readonly RowBatch[], bytes: number): Value[] {
  const [first, last, at, index, bodies, open] = batches[0]!
  if (batches.length === 1) return [run, gen, first, last, at, 1, index, bodies, open, bytes]
  return [run, gen, first, batches.at(-1)![1], at, batches.length, pack(batches), NO_BYTES, null, bytes]
}

/** The batches of rows that follow each other, from the one that has item `from`: the first, and more up to `maxBytes`. */
export function batchesOf(rows: readonly BatchesRow[], from: number, maxBytes: number): Batch[] {
  const batches: Batch[] = []
  let bytes = 0
  for (const batch of rows.flatMap(batchesOfRow)) {
    if (batch.last < from) continue
    bytes += bytesOfBatch(batch)
    if (batches.length > 0 && bytes > maxBytes) break
    batches.push(batch)
  }
  return batches
}

/** What a batch takes in the file, about. */
export function bytesOfBatch({ index, bodies, open }: Batch): number {
  return index.length + bodies.length + (open?.length ?? 0)
}

function batchesOfRow({ count, positions, open, ...row }: BatchesRow): Batch[] {
  if (count === 1) return [{ ...row, index: positions, ...(open && { open }) }]
  return (unpack(positions) as RowBatch[]).map(([first, last, at, index, bodies, lanes]) => ({
    gen: row.gen,
    first,
    last,
    at,
    // Bytes of their own, in place of views of the row.
    index: new Uint8Array(index),
    bodies: new Uint8Array(bodies),
    ...(lanes && { open: new Uint8Array(lanes) }),
  }))
}

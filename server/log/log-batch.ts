import type { OpenLane } from '../../protocol/frames.ts'
import { Writer } from '../../protocol/writer.ts'
import { unpackAll, unpackPayload } from './payload.ts'
import type { Segment } from './segment.ts'

/**
 * Adjacent items of one life of a log, encoded as the log has them. A store keeps the bytes and never looks into them;
 * whoever appends them does not change them afterwards.
 */
export type Batch = {
  /** The life that wrote them. */
  readonly gen: number
  /** The number of the first item. */
  readonly first: number
  /** The number of the last item. */
  readonly last: number
  /** When the first was logged, in epoch milliseconds. */
  readonly at: number
  /** Three numbers for each item: its bytes, its lane or negative cost, and the milliseconds since the item before. */
  readonly index: Uint8Array
  /** The items, adjacent. */
  readonly bodies: Uint8Array
  /** The lanes that were open just before the first item, packed. Absent: none. */
  readonly open?: Uint8Array | undefined
}

/** One item of a batch. `mark`: the lane of a text, or the negative cost of an event. */
export type BatchItem = {
  readonly seq: number
  readonly mark: number
  readonly at: number
  readonly body: Uint8Array
}

/** Where batches are put together, one after the other. Memory of its own would cost a small one more than its items. */
const writers = { index: new Writer(), bodies: new Writer() }

/** Collects the items of a batch from the segments of a log. One at a time: the next one begins when this one is taken. */
export class BatchWriter {
  readonly #first: number
  readonly #index = writers.index
  readonly #bodies = writers.bodies
  #last: number
  #firstAt = 0
  #at = 0

  constructor(first: number) {
    this.#first = first
    this.#last = first - 1
    this.#index.reset()
    this.#bodies.reset()
  }

  /** The last item that it has. */
  get last(): number {
    return this.#last
  }

  /** Adds item `seq`, unless it would be more than `maxBytes` then. The first item may have any size. */
  add(segment: Segment, seq: number, maxBytes: number): boolean {
    const { start, end } = segment.spanOf(seq)
    const isFirst = seq === this.#first
    if (!isFirst && this.#bodies.length + end - start > maxBytes) return false
    const at = segment.timeOf(seq)
    if (isFirst) this.#firstAt = this.#at = at
    this.#index.uint(end - start)
    this.#index.number(segment.markOf(seq))
    this.#index.number(at - this.#at)
    this.#bodies.copy(segment.body, start, end, 1)
    this.#at = at
    this.#last = seq
    return true
  }

  /** The batch, of life `gen`, with the lanes that were open before it. */
  take(gen: number, lanes: readonly OpenLane[]): Batch {
    return {
      gen,
      first: this.#first,
      last: this.#last,
      at: this.#firstAt,
      index: this.#index.take(),
      bodies: this.#bodies.take(),
      ...(lanes.length > 0 && { open: packed(lanes) }),
    }
  }
}

/** The items of a batch, in order. */
export function* itemsOf(batch: Batch): Generator<BatchItem, undefined> {
  const figures = unpackAll(batch.index) as number[]
  let start = 0
  let { at } = batch
  for (let seq = batch.first, i = 0; seq <= batch.last; seq++, i += 3) {
    const end = start + (figures[i] as number)
    at += figures[i + 2] as number
    yield { seq, mark: figures[i + 1] as number, at, body: batch.bodies.subarray(start, end) }
    start = end
  }
}

/** The lanes that were open just before the first item of a batch. */
export function lanesBefore({ open }: Batch): OpenLane[] {
  return open ? (unpackPayload(open) as OpenLane[]) : []
}

function packed(lanes: readonly OpenLane[]): Uint8Array {
  const writer = new Writer()
  writer.value(lanes)
  return writer.take()
}

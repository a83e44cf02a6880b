import { Writer } from '../../protocol/writer.ts'
import { RunLengthArray } from './run-length.ts'

/** The most items and bytes in one segment. A frame is copied out of one segment, so these also limit a frame. */
const SEGMENT_ITEMS = 256
const SEGMENT_BYTES = 16_384
/** The initial buffer of a log's first segment, in bytes. */
const LEAST_BYTES = 256
/** The items that a log's first segment has room for, and the factor by which that grows. */
const LEAST_ITEMS = 16
const GROWTH = 4
/** The bits of an entry that hold the milliseconds since the segment's first item: 131 s. The others hold an offset. */
const TIME_BITS = 17
const TIME_SPAN = 2 ** TIME_BITS

/**
 * The time of the first item that came to a log of this process, in epoch milliseconds. Segments count from it, because V8
 * keeps an object of its own for each number as large as that.
 */
let origin = 0

function sinceOrigin(at: number): number {
  origin ||= at
  return at - origin
}

/** The content of one frame: adjacent text items of one lane, or one event. Valid until the next append. */
export class Chunk {
  readonly seq: number
  readonly count: number
  /** The lane of the text; undefined for an event. */
  readonly lane: number | undefined
  readonly cost: number
  /** When the first item was logged, in epoch milliseconds. */
  readonly at: number
  /** Has the encoded bodies from `start` to `end`, adjacent: each a `str`, or an event's type and data. */
  readonly body: Writer
  readonly start: number
  readonly end: number

  /** @param mark The lane of text, or the negative cost of an event. */
  constructor(seq: number, count: number, mark: number, at: number, body: Writer, start: number, end: number) {
    this.seq = seq
    this.count = count
    this.lane = mark < 0 ? undefined : mark
    this.cost = mark < 0 ? -mark : count
    this.at = at
    this.body = body
    this.start = start
    this.end = end
  }

  get bodies(): Uint8Array {
    return this.body.view(this.start, this.end)
  }
}

/** Consecutive items of a log that share one buffer. Items are named by their number in the log. */
export class Segment {
  /** The number of its first item. */
  first: number
  /** Bytes logged before this segment, over the whole run. */
  base: number
  readonly body: Writer
  #next: number
  /**
   * Where each item's body begins, and when it was logged. Both share one number, so that a write touches less memory:
   * items of many runs are written alternately, and each finds its run's memory cold.
   */
  #entries: Uint32Array
  /** When the first item was logged, in milliseconds since `origin`. */
  #at: number
  /** The lane of text, or the negative cost of an event: of the first item. `#marks` has all marks once they differ. */
  #mark = 0
  #marks: RunLengthArray | undefined

  /**
   * @param at When the first item is logged, in epoch milliseconds.
   * @param before The previous segment. The new one gets about as much room.
   */
  constructor(first: number, base: number, at: number, before: Segment | undefined) {
    // A segment with one oversized item predicts nothing.
    const like = before && !before.isOversized ? before.body.length : 0
    this.#entries = new Uint32Array(before ? before.#entries.length : LEAST_ITEMS)
    this.body = new Writer(Math.min(SEGMENT_BYTES, like + (like >> 3)) + LEAST_BYTES)
    this.first = this.#next = first
    this.base = base
    this.#at = sinceOrigin(at)
  }

  /**
   * Makes a segment that its log has dropped the next one: empty, with the memory that it has. Segments that come and go
   * live long enough to become old, and only a major collection would free them.
   */
  renew(first: number, base: number, at: number): this {
    this.first = this.#next = first
    this.base = base
    this.#at = sinceOrigin(at)
    this.#marks = undefined
    this.body.reset()
    return this
  }

  /** Whether it has an item that is larger than a segment. */
  get isOversized(): boolean {
    return this.body.length > SEGMENT_BYTES
  }

  /** The number after its last item. */
  get next(): number {
    return this.#next
  }

  /** Bytes logged up to and including its last item, over the whole run. */
  get bytes(): number {
    return this.base + this.body.length
  }

  /** Returns whether an item of `bytes` bytes, logged at `at`, fits. The first item may have any size. */
  takes(bytes: number, at: number): boolean {
    const count = this.#next - this.first
    const ms = at - origin - this.#at
    if (count === 0) return ms === 0
    return count < SEGMENT_ITEMS && this.body.length + bytes <= SEGMENT_BYTES && ms >= 0 && ms < TIME_SPAN
  }

  /**
   * Begins an item. The caller then writes its bytes to `body`.
   * @param mark The lane of text, or the negative cost of an event.
   * @param at When it is logged, in epoch milliseconds.
   */
  begin(mark: number, at: number): void {
    const index = this.#next++ - this.first
    if (index === this.#entries.length) {
      const grown = new Uint32Array(index * GROWTH)
      grown.set(this.#entries)
      this.#entries = grown
    }
    this.#entries[index] = this.body.length * TIME_SPAN + (at - origin - this.#at)
    if (index === 0) this.#mark = mark
    else if (this.#marks || mark !== this.#mark) this.#markAt(index, mark)
  }

  #markAt(index: number, mark: number): void {
    if (!this.#marks) {
      this.#marks = new RunLengthArray()
      this.#marks.push(0, this.#mark)
    }
    this.#marks.push(index, mark)
  }

  /** Removes the items from `seq` on. */
  truncate(seq: number): void {
    if (seq >= this.#next) return
    this.body.truncate(this.#startOf(seq))
    this.#next = seq
    this.#marks?.truncate(seq - this.first)
  }

  /** Bytes logged before item `seq`, over the whole run. */
  bytesBefore(seq: number): number {
    return this.base + this.#startOf(seq)
  }

  /** The cost of item `seq`, in credits. */
  costOf(seq: number): number {
    const mark = this.markOf(seq)
    return mark < 0 ? -mark : 1
  }

  /** The number of consecutive items from `seq` on that cost 1; 0 when item `seq` costs more. */
  unitsFrom(seq: number): number {
    return this.costOf(seq) > 1 ? 0 : this.#spanEnd(seq) - seq
  }

  /** The items from `seq` on that fit into one frame of about `maxBytes`, none after `through`. */
  chunk(seq: number, through: number, maxBytes: number): Chunk {
    const mark = this.markOf(seq)
    const start = this.#startOf(seq)
    let next = mark < 0 ? seq + 1 : Math.min(through + 1, this.#spanEnd(seq))
    while (next > seq + 1 && this.#startOf(next) - start > maxBytes) next--
    return new Chunk(seq, next - seq, mark, this.timeOf(seq), this.body, start, this.#startOf(next))
  }

  /** When item `seq` was logged, in epoch milliseconds. */
  timeOf(seq: number): number {
    return origin + this.#at + ((this.#entries[seq - this.first] as number) % TIME_SPAN)
  }

  /** The number after the last consecutive item with the same mark as item `seq`. */
  #spanEnd(seq: number): number {
    return this.#marks ? Math.min(this.#next, this.first + this.#marks.end(seq - this.first)) : this.#next
  }

  /** The lane of text, or the negative cost of an event. */
  markOf(seq: number): number {
    return this.#marks ? this.#marks.at(seq - this.first) : this.#mark
  }

  /** The bytes of item `seq`, in the body of this segment. */
  spanOf(seq: number): { start: number; end: number } {
    return { start: this.#startOf(seq), end: this.#startOf(seq + 1) }
  }

  #startOf(seq: number): number {
    return seq === this.#next ? this.body.length : (this.#entries[seq - this.first] as number) >>> TIME_BITS
  }
}

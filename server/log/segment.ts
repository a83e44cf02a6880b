import { Writer } from '../../protocol/writer.ts'
import { RunLengthArray } from './run-length.ts'

/** Items that share one buffer. A batch is copied out of one segment, so this also bounds a frame. */
const SEGMENT_ITEMS = 256
const SEGMENT_BYTES = 16_384
/** Bytes that the first segment of a log begins with. */
const LEAST_BYTES = 256
/** Items that a segment has room for at first, and how many times as many then. */
const LEAST_ITEMS = 16
const GROWTH = 4
/** Bits of an item's entry for the milliseconds since the segment's first item: two minutes. The others are its place. */
const TIME_BITS = 17
const TIME_SPAN = 2 ** TIME_BITS

/** What one frame can carry: text items of one lane that lie together, or one event. Valid until the next append. */
export class Chunk {
  readonly seq: number
  readonly count: number
  /** Lane of the text, or undefined for an event. */
  readonly lane: number | undefined
  readonly cost: number
  readonly at: number
  /** Where the encoded bodies stand, back to back: each a `str`, or an event's kind and data. */
  readonly body: Writer
  readonly start: number
  readonly end: number

  /** @param mark the lane of text, or minus the cost of an event. */
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

/** A stretch of a log whose encoded bodies lie together. Items are named by their number in the log. */
export class Segment {
  readonly first: number
  /** Bytes logged before this segment, over the whole run. */
  readonly base: number
  readonly body: Writer
  #next: number
  /** Of each item, where its body begins and when it was logged: one number, since items of many runs are written in turn. */
  #entries: Uint32Array = new Uint32Array(LEAST_ITEMS)
  /** When the first item was logged, epoch milliseconds. */
  readonly #at: number
  /** The lane of a text item, or minus the cost of an event: of the first, and of all where they differ. */
  #mark = 0
  #marks: RunLengthArray | undefined

  /**
   * @param at when its first item is logged, epoch milliseconds.
   * @param before the segment that it follows, which is about as large as this one will be.
   */
  constructor(first: number, base: number, at: number, before: Segment | undefined) {
    this.first = this.#next = first
    this.base = base
    this.#at = at
    // One item that fills a segment by itself says nothing of the next.
    const like = before && before.body.length <= SEGMENT_BYTES ? before.body.length : 0
    this.body = new Writer(Math.min(SEGMENT_BYTES, like + (like >> 3)) + LEAST_BYTES)
  }

  /** The item after its last. */
  get next(): number {
    return this.#next
  }

  /** Bytes logged up to and with its last item, over the whole run. */
  get bytes(): number {
    return this.base + this.body.length
  }

  /** Whether an item of so many bytes that is logged then belongs here: one does in any case. */
  takes(bytes: number, at: number): boolean {
    const count = this.#next - this.first
    if (count === 0) return at === this.#at
    const ms = at - this.#at
    return count < SEGMENT_ITEMS && this.body.length + bytes <= SEGMENT_BYTES && ms >= 0 && ms < TIME_SPAN
  }

  /** Begins an item: what is written to `body` from now on. `mark` is the lane of a text, or minus the cost of an event. */
  begin(mark: number, at: number): void {
    const index = this.#next++ - this.first
    if (index === this.#entries.length) {
      const grown = new Uint32Array(index * GROWTH)
      grown.set(this.#entries)
      this.#entries = grown
    }
    this.#entries[index] = this.body.length * TIME_SPAN + (at - this.#at)
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

  /** Gives up its items from `seq` on. */
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

  costOf(seq: number): number {
    const mark = this.#markOf(seq)
    return mark < 0 ? -mark : 1
  }

  /** How many items from `seq` on cost 1, one after the other; 0 when that one costs more. */
  unitsFrom(seq: number): number {
    return this.costOf(seq) > 1 ? 0 : this.#stretchEnd(seq) - seq
  }

  /** What one frame can carry of the items from `seq` to `through`, at most about `maxBytes` of it. */
  chunk(seq: number, through: number, maxBytes: number): Chunk {
    const mark = this.#markOf(seq)
    const start = this.#startOf(seq)
    let next = mark < 0 ? seq + 1 : Math.min(through + 1, this.#stretchEnd(seq))
    while (next > seq + 1 && this.#startOf(next) - start > maxBytes) next--
    const at = this.#at + ((this.#entries[seq - this.first] as number) % TIME_SPAN)
    return new Chunk(seq, next - seq, mark, at, this.body, start, this.#startOf(next))
  }

  /** Where the items that are marked as `seq` is end. */
  #stretchEnd(seq: number): number {
    return this.#marks ? Math.min(this.#next, this.first + this.#marks.end(seq - this.first)) : this.#next
  }

  #markOf(seq: number): number {
    return this.#marks ? this.#marks.at(seq - this.first) : this.#mark
  }

  #startOf(seq: number): number {
    return seq === this.#next ? this.body.length : (this.#entries[seq - this.first] as number) >>> TIME_BITS
  }
}

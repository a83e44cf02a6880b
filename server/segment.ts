import { Writer } from '../protocol/writer.ts'
import { Stretches } from './stretches.ts'

/** Items that share one buffer. A batch is copied out of one segment, so this also bounds a frame. */
const SEGMENT_ITEMS = 256
const SEGMENT_BYTES = 16_384
/** Bytes that the first segment of a log begins with. */
const LEAST_BYTES = 256

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
  /** Where each item's body begins. */
  #starts: Uint16Array = new Uint16Array(16)
  /** The lane of a text item, or minus the cost of an event. */
  readonly #marks = new Stretches()
  /** When each item was logged, epoch milliseconds. */
  readonly #times = new Stretches()

  /** @param before the segment that it follows, which is about as large as this one will be. */
  constructor(first: number, base: number, before: Segment | undefined) {
    this.first = this.#next = first
    this.base = base
    this.body = new Writer(Math.max(LEAST_BYTES, before?.body.length ?? 0))
  }

  /** The item after its last. */
  get next(): number {
    return this.#next
  }

  /** Bytes logged up to and with its last item, over the whole run. */
  get bytes(): number {
    return this.base + this.body.length
  }

  /** Whether an item of so many bytes belongs here: one does in any case. */
  takes(bytes: number): boolean {
    const count = this.#next - this.first
    return count === 0 || (count < SEGMENT_ITEMS && this.body.length + bytes <= SEGMENT_BYTES)
  }

  /** Begins an item: what is written to `body` from now on. `mark` is the lane of a text, or minus the cost of an event. */
  begin(mark: number, at: number): void {
    const index = this.#next++ - this.first
    if (index === this.#starts.length) {
      const grown = new Uint16Array(SEGMENT_ITEMS)
      grown.set(this.#starts)
      this.#starts = grown
    }
    this.#starts[index] = this.body.length
    this.#marks.push(index, mark)
    this.#times.push(index, at)
  }

  /** Gives up its items from `seq` on. */
  truncate(seq: number): void {
    if (seq >= this.#next) return
    this.body.truncate(this.#startOf(seq))
    this.#next = seq
    this.#marks.truncate(seq - this.first)
    this.#times.truncate(seq - this.first)
  }

  /** Bytes logged before item `seq`, over the whole run. */
  bytesBefore(seq: number): number {
    return this.base + this.#startOf(seq)
  }

  costOf(seq: number): number {
    const mark = this.#marks.at(seq - this.first)
    return mark < 0 ? -mark : 1
  }

  /** How many items from `seq` on cost 1, one after the other; 0 when that one costs more. */
  unitsFrom(seq: number): number {
    return this.costOf(seq) > 1 ? 0 : this.#stretchEnd(seq) - seq
  }

  /** What one frame can carry of the items from `seq` to `through`, at most about `maxBytes` of it. */
  chunk(seq: number, through: number, maxBytes: number): Chunk {
    const mark = this.#marks.at(seq - this.first)
    const start = this.#startOf(seq)
    let next = mark < 0 ? seq + 1 : Math.min(through + 1, this.#stretchEnd(seq))
    while (next > seq + 1 && this.#startOf(next) - start > maxBytes) next--
    const at = this.#times.at(seq - this.first)
    return new Chunk(seq, next - seq, mark, at, this.body, start, this.#startOf(next))
  }

  /** Where the items that are marked as `seq` is end. */
  #stretchEnd(seq: number): number {
    return Math.min(this.#next, this.first + this.#marks.end(seq - this.first))
  }

  #startOf(seq: number): number {
    return seq === this.#next ? this.body.length : (this.#starts[seq - this.first] as number)
  }
}

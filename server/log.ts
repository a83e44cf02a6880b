import { costOf } from '../protocol/credit.ts'
import { Writer } from '../protocol/encode.ts'
import { MillraceError } from '../protocol/errors.ts'
import { EVENT } from '../protocol/events.ts'
import type { OpenLane, WireMap } from '../protocol/frames.ts'
import type { Limits } from '../protocol/limits.ts'

/** Items that share one buffer. A batch is copied out of one segment, so this also bounds a frame. */
const SEGMENT_ITEMS = 256
const SEGMENT_BYTES = 16_384

/** A stretch of items whose encoded bodies lie together. */
type Segment = {
  readonly first: number
  /** Bytes logged before this segment, over the whole run. */
  readonly base: number
  readonly body: Writer
  /** Where each item's body begins. */
  readonly starts: number[]
  /** The lane of a text item, or minus the cost of an event. */
  readonly marks: number[]
  /** When each item was logged, epoch milliseconds. */
  readonly times: number[]
}

/** What one frame can carry: text items of one lane that lie together, or one event. */
export type Chunk = {
  readonly seq: number
  readonly count: number
  /** Lane of the text, or undefined for an event. */
  readonly lane: number | undefined
  readonly cost: number
  readonly at: number
  /** The encoded bodies back to back: each a `str`, or an event's kind and data. Valid until the next append. */
  readonly bodies: Uint8Array
}

type Lane = {
  readonly lane: number
  readonly data: WireMap
  readonly bytes: number
  readonly opened: number
  closed: number
}

/** Most values that an OPENED needs to tell of an open part: its pair, the map, and five keys with their values. */
const VALUES_OF_A_PART = 13

/** When a part that is still open was closed. */
const OPEN = Number.POSITIVE_INFINITY

/** One life of a log: its number and the first item it wrote. */
export type Life = { readonly gen: number; readonly first: number }

type LogLimits = Pick<Limits, 'creditUnit' | 'retainEvents' | 'retainBytes' | 'maxEvent' | 'maxValues'>

/**
 * What a run has said, numbered from 1 and encoded once. In memory and synchronous: there is no promise on the way of a
 * token. Old items are given up when the log grows beyond its retention, never those somebody must still be sent.
 */
export class Log {
  readonly #limits: LogLimits
  #segments: Segment[] = []
  #first = 1
  #next = 1
  #bytes = 0
  /** Bytes of the items given up. */
  #gone = 0
  #lanes: Lane[] = []
  /** High surrogates that wait for the next text of their lane. */
  readonly #held = new Map<number, string>()
  readonly #lives: Life[] = [{ gen: 1, first: 1 }]

  constructor(limits: LogLimits) {
    this.#limits = limits
  }

  /** The oldest item there is; equal to `next` when none is left. */
  get first(): number {
    return this.#first
  }

  /** The number the next item will get. */
  get next(): number {
    return this.#next
  }

  get last(): number {
    return this.#next - 1
  }

  /** The number of this log's present life. */
  get gen(): number {
    return this.#lives[this.#lives.length - 1]?.gen ?? 1
  }

  /** Bytes of all items kept. */
  get size(): number {
    return this.#bytes - this.#gone
  }

  /** The log is beyond its retention: `trim` would give something up. */
  get full(): boolean {
    return this.#next - this.#first > this.#limits.retainEvents || this.size > this.#limits.retainBytes
  }

  /** The first item of life `gen`, if there was one. */
  firstOf(gen: number): number | undefined {
    return this.#lives.find((life) => life.gen === gen)?.first
  }

  /** The life that a position of life `gen` passes into: of the later ones, the one that reaches back furthest. */
  lifeAfter(gen: number): Life | undefined {
    let next: Life | undefined
    for (const life of this.#lives) if (life.gen > gen && (!next || life.first < next.first)) next = life
    return next
  }

  /** The life that wrote item `seq`. */
  genAt(seq: number): number {
    let gen = 1
    for (const life of this.#lives) if (life.first <= seq) gen = life.gen
    return gen
  }

  /**
   * Logs text, cut at code points into items of at most `creditUnit` bytes. Half of a surrogate pair at the end is held
   * for the lane's next text. Returns how many items it became.
   */
  appendText(lane: number, text: string, at: number): number {
    const held = this.#held.size === 0 ? undefined : this.#held.get(lane)
    let whole = text
    if (held !== undefined && text !== '') {
      this.#held.delete(lane)
      whole = held + text
    }
    const tail = whole.charCodeAt(whole.length - 1)
    if (tail >= 0xd800 && tail <= 0xdbff) {
      this.#held.set(lane, whole.slice(-1))
      whole = whole.slice(0, -1)
    }
    if (whole === '') return 0
    const before = this.#next
    // Three bytes is the most a UTF-16 unit takes.
    if (whole.length * 3 <= this.#limits.creditUnit) this.#appendItem(lane, whole, at)
    else for (const piece of cut(whole, this.#limits.creditUnit)) this.#appendItem(lane, piece, at)
    return this.#next - before
  }

  /**
   * Logs an event whose data is packed and checked already. `data` is the same value, for the lanes it opens and closes.
   * @throws MillraceError `bad_event` when more parts are open than can be told to who attaches.
   */
  appendEvent(type: number | string, packed: Uint8Array, data: WireMap, at: number): void {
    if (type === EVENT.partEnd) this.flushHeld(Number(data['lane']), at)
    // Half of what an OPENED may hold; open requests have the other half.
    if (type === EVENT.partStart && !this.#hasRoomFor(packed.length)) {
      throw new MillraceError(
        'bad_event',
        'too many parts (agents, tool calls) are open at once, or their names are too long',
      )
    }
    const segment = this.#segment(packed.length + 8)
    segment.starts.push(segment.body.length)
    if (typeof type === 'number') segment.body.uint(type)
    else segment.body.str(type)
    segment.body.raw(packed)
    segment.marks.push(-costOf(packed.length, this.#limits.creditUnit))
    segment.times.push(at)
    this.#bytes = segment.base + segment.body.length
    const seq = this.#next++
    if (type === EVENT.partStart) {
      const opened = { lane: Number(data['lane']), data, bytes: packed.length, opened: seq, closed: OPEN }
      this.#lanes.push(opened)
    } else if (type === EVENT.partEnd) {
      const lane = this.#lanes.find((open) => open.lane === data['lane'])
      if (lane) lane.closed = seq
    }
  }

  /** Writes U+FFFD for a half surrogate pair that found no other half. */
  flushHeld(lane: number, at: number): void {
    if (this.#held.delete(lane)) this.#appendItem(lane, '\ufffd', at)
  }

  /** The run ends: no text will complete what is held. */
  flushAllHeld(at: number): void {
    for (const lane of [...this.#held.keys()]) this.flushHeld(lane, at)
  }

  /** Gives up old items while the log is beyond its retention, but none from `keep` on. */
  trim(keep: number): void {
    while (this.full && this.#first < keep) {
      this.#gone = this.bytesThrough(this.#first)
      this.#first++
    }
    let spare = 0
    while (spare < this.#segments.length - 1 && (this.#segments[spare + 1] as Segment).first <= this.#first) spare++
    if (spare === 0) return
    this.#segments.splice(0, spare)
    this.#lanes = this.#lanes.filter((lane) => lane.closed >= this.#first)
  }

  /** Gives up everything: the run is being forgotten. Numbers and lives stay. */
  clear(): void {
    this.#first = this.#next
    this.#gone = this.#bytes
    this.#segments = []
    this.#lanes = []
    this.#held.clear()
  }

  /**
   * Begins a new life at `first`: what an earlier life wrote from there on never counted. A store that comes back with
   * less than was said does this, and every take-over by another holder.
   */
  newLife(first: number): void {
    this.#lives.push({ gen: this.gen + 1, first })
    // Half a character that no life has logged is nobody's.
    this.#held.clear()
    if (first >= this.#next) return
    while (this.#segments.length > 0 && (this.#segments[this.#segments.length - 1] as Segment).first >= first)
      this.#segments.pop()
    const segment = this.#segments[this.#segments.length - 1]
    if (segment) {
      const count = first - segment.first
      const end = segment.starts[count]
      if (end !== undefined) segment.body.truncate(end)
      segment.starts.length = segment.marks.length = segment.times.length = count
    }
    this.#bytes = segment ? segment.base + segment.body.length : this.#gone
    this.#next = first
    if (first < this.#first) {
      this.#first = first
      this.#gone = this.#bytes
    }
    this.#lanes = this.#lanes.filter((lane) => lane.opened < first)
    for (const lane of this.#lanes) if (lane.closed >= first) lane.closed = OPEN
  }

  /** Bytes logged up to and with item `seq`, over the whole run. */
  bytesThrough(seq: number): number {
    if (seq >= this.#next - 1) return this.#bytes
    const segment = this.#segmentOf(seq + 1)
    return segment ? segment.base + (segment.starts[seq + 1 - segment.first] ?? 0) : 0
  }

  costOf(seq: number): number {
    const segment = this.#segmentOf(seq)
    const mark = segment?.marks[seq - segment.first] ?? 0
    return mark < 0 ? -mark : 1
  }

  /**
   * What one frame can carry of the items from `seq` to `through`, at most about `maxBytes` of it; undefined when `seq`
   * is not there.
   */
  chunk(seq: number, through: number, maxBytes: number): Chunk | undefined {
    const segment = seq < this.#first || seq > through ? undefined : this.#segmentOf(seq)
    if (!segment) return undefined
    const from = seq - segment.first
    const start = segment.starts[from] as number
    const mark = segment.marks[from] as number
    const at = segment.times[from] as number
    let to = from + 1
    if (mark >= 0) {
      const last = Math.min(through, segment.first + segment.starts.length - 1) - segment.first
      while (
        to <= last &&
        segment.marks[to] === mark &&
        (segment.starts[to + 1] ?? segment.body.length) - start <= maxBytes
      )
        to++
    }
    const bodies = segment.body.view().subarray(start, segment.starts[to] ?? segment.body.length)
    const count = to - from
    return mark < 0
      ? { seq, count, lane: undefined, cost: -mark, at, bodies }
      : { seq, count, lane: mark, cost: count, at, bodies }
  }

  /** The parts open just before item `seq`. */
  lanesAt(seq: number): OpenLane[] {
    return this.#lanes.filter((lane) => lane.opened < seq && lane.closed >= seq).map((lane) => [lane.lane, lane.data])
  }

  #hasRoomFor(bytes: number): boolean {
    const { maxEvent, maxValues } = this.#limits
    const open = this.#lanes.filter((lane) => lane.closed === OPEN)
    const openBytes = open.reduce((sum, lane) => sum + lane.bytes, bytes)
    return openBytes <= maxEvent / 2 && (open.length + 1) * VALUES_OF_A_PART <= maxValues / 2
  }

  #appendItem(lane: number, text: string, at: number): void {
    const segment = this.#segment(text.length * 3 + 5)
    segment.starts.push(segment.body.length)
    segment.body.str(text)
    segment.marks.push(lane)
    segment.times.push(at)
    this.#bytes = segment.base + segment.body.length
    this.#next++
  }

  #segment(bytes: number): Segment {
    const last = this.#segments[this.#segments.length - 1]
    if (last && last.starts.length < SEGMENT_ITEMS && last.body.length + bytes <= SEGMENT_BYTES) return last
    const segment: Segment = {
      first: this.#next,
      base: this.#bytes,
      body: new Writer(256),
      starts: [],
      marks: [],
      times: [],
    }
    this.#segments.push(segment)
    return segment
  }

  #segmentOf(seq: number): Segment | undefined {
    const segments = this.#segments
    let high = segments.length - 1
    const newest = segments[high]
    if (!newest || seq < (segments[0] as Segment).first) return undefined
    if (seq >= newest.first) return seq < newest.first + newest.starts.length ? newest : undefined
    let low = 0
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((segments[middle] as Segment).first <= seq) low = middle
      else high = middle - 1
    }
    return segments[low]
  }
}

/** Cuts text at code points into pieces of at most `most` UTF-8 bytes. */
function* cut(text: string, most: number): Generator<string> {
  let start = 0
  let bytes = 0
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    const pair = unit >= 0xd800 && unit <= 0xdbff && isLow(text.charCodeAt(i + 1))
    const size = pair ? 4 : unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3
    if (bytes + size > most) {
      yield text.slice(start, i)
      start = i
      bytes = 0
    }
    bytes += size
    if (pair) i++
  }
  yield text.slice(start)
}

function isLow(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}

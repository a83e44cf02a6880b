import { costOf } from '../../protocol/credit.ts'
import { MillraceError } from '../../protocol/errors.ts'
import { EVENT } from '../../protocol/events.ts'
import type { OpenLane, WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import { type Chunk, Segment } from './segment.ts'

export type { Chunk } from './segment.ts'

type LoggedLane = {
  readonly lane: number
  readonly data: WireMap
  readonly bytes: number
  readonly opened: number
  closed: number
}

/** Most values that an OPENED needs to tell of an open part: its pair, the map, and five keys with their values. */
const VALUES_OF_A_PART = 13

/** Share of its retention by which a log may exceed it: to trim it item by item costs a search for each. */
const SLACK = 1 / 64

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
  // What every item touches stands together, as in a production.
  #next = 1
  /** The last of the segments. */
  #tail: Segment | undefined
  #bytes = 0
  #first = 1
  /** Bytes of the items given up. */
  #gone = 0
  readonly #limits: LogLimits
  #gen = 1
  /** The last item that costs more than 1. */
  #lastCostly = 0
  /** Half of a character is held for some lane. */
  #isHolding = false
  #segments: Segment[] = []
  #lanes: LoggedLane[] = []
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
    return this.#gen
  }

  /** Bytes of all items kept. */
  get size(): number {
    return this.#bytes - this.#gone
  }

  /** The log is so far beyond its retention that `trim` is worth its while. */
  get full(): boolean {
    return this.#exceeds(SLACK)
  }

  /** The first item of life `gen`, if there was one. */
  firstOf(gen: number): number | undefined {
    return this.#lives.find((life) => life.gen === gen)?.first
  }

  /** The life that a position of life `gen` passes into: of the later ones, the one that reaches back furthest. */
  lifeAfter(gen: number): Life | undefined {
    if (gen >= this.#gen) return undefined
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
    const held = this.#isHolding ? this.#held.get(lane) : undefined
    let whole = text
    if (held !== undefined && text !== '') {
      this.#held.delete(lane)
      whole = held + text
    }
    const tail = whole.charCodeAt(whole.length - 1)
    if (tail >= 0xd800 && tail <= 0xdbff) {
      this.#held.set(lane, whole.slice(-1))
      this.#isHolding = true
      whole = whole.slice(0, -1)
    }
    if (whole === '') return 0
    const before = this.#next
    const { creditUnit } = this.#limits
    // Three bytes is the most a UTF-16 unit takes; longer text is counted.
    const isOne =
      whole.length * 3 <= creditUnit || (whole.length <= creditUnit && Buffer.byteLength(whole) <= creditUnit)
    if (isOne) this.#appendItem(lane, whole, at)
    else for (const piece of cut(whole, creditUnit)) this.#appendItem(lane, piece, at)
    return this.#next - before
  }

  /**
   * Logs an event whose data is packed and checked already. `data` is the same value, for the lanes it opens and closes.
   * @throws MillraceError `bad_event` when more parts are open than can be told to who attaches.
   */
  appendEvent(type: number | string, packed: Uint8Array, data: WireMap, at: number): void {
    if (type === EVENT.laneEnd) this.flushHeld(Number(data['lane']), at)
    // Half of what an OPENED may hold; open requests have the other half.
    if (type === EVENT.laneStart && !this.#hasRoomFor(packed.length)) {
      throw new MillraceError(
        'bad_event',
        'too many parts (agents, tool calls) are open at once, or their names are too long',
      )
    }
    const segment = this.#segment(packed.length + 8, at)
    const cost = costOf(packed.length, this.#limits.creditUnit)
    segment.begin(-cost, at)
    if (typeof type === 'number') segment.body.uint(type)
    else segment.body.str(type)
    segment.body.raw(packed)
    this.#bytes = segment.bytes
    const seq = this.#next++
    if (cost > 1) this.#lastCostly = seq
    if (type === EVENT.laneStart) {
      const opened = { lane: Number(data['lane']), data, bytes: packed.length, opened: seq, closed: OPEN }
      this.#lanes.push(opened)
    } else if (type === EVENT.laneEnd) {
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
    while (this.#exceeds(0) && this.#first < keep) {
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
    this.#tail = undefined
    this.#lanes = []
    this.#held.clear()
  }

  /**
   * Begins a new life at `first`: what an earlier life wrote from there on never counted. A store that comes back with
   * less than was said does this, and every take-over by another holder.
   */
  newLife(first: number): void {
    this.#lives.push({ gen: ++this.#gen, first })
    this.#lastCostly = Math.min(this.#lastCostly, first - 1)
    // Half a character that no life has logged is nobody's.
    this.#held.clear()
    if (first >= this.#next) return
    while (this.#segments.length > 0 && (this.#segments[this.#segments.length - 1] as Segment).first >= first)
      this.#segments.pop()
    this.#tail = this.#segments[this.#segments.length - 1]
    this.#tail?.truncate(first)
    this.#bytes = this.#tail?.bytes ?? this.#gone
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
    return this.#segmentOf(seq + 1)?.bytesBefore(seq + 1) ?? 0
  }

  costOf(seq: number): number {
    return this.#segmentOf(seq)?.costOf(seq) ?? 1
  }

  /** How many items from `seq` on surely cost 1, one after the other; 0 when that one costs more. */
  unitsFrom(seq: number): number {
    return seq > this.#lastCostly ? this.#next - seq : (this.#segmentOf(seq)?.unitsFrom(seq) ?? 0)
  }

  /**
   * What one frame can carry of the items from `seq` to `through`, at most about `maxBytes` of it; undefined when `seq`
   * is not there.
   */
  chunk(seq: number, through: number, maxBytes: number): Chunk | undefined {
    if (seq < this.#first || seq > through) return undefined
    return this.#segmentOf(seq)?.chunk(seq, through, maxBytes)
  }

  /** The parts open just before item `seq`. */
  lanesAt(seq: number): OpenLane[] {
    return this.#lanes.filter((lane) => lane.opened < seq && lane.closed >= seq).map((lane) => [lane.lane, lane.data])
  }

  /** Whether it is beyond its retention by more than a share of it. */
  #exceeds(share: number): boolean {
    const { retainEvents, retainBytes } = this.#limits
    const most = 1 + share
    return this.#next - this.#first > retainEvents * most || this.size > retainBytes * most
  }

  #hasRoomFor(bytes: number): boolean {
    const { maxEvent, maxValues } = this.#limits
    const open = this.#lanes.filter((lane) => lane.closed === OPEN)
    const openBytes = open.reduce((sum, lane) => sum + lane.bytes, bytes)
    return openBytes <= maxEvent / 2 && (open.length + 1) * VALUES_OF_A_PART <= maxValues / 2
  }

  #appendItem(lane: number, text: string, at: number): void {
    const segment = this.#segment(text.length * 3 + 5, at)
    segment.begin(lane, at)
    segment.body.str(text)
    this.#bytes = segment.bytes
    this.#next++
  }

  #segment(bytes: number, at: number): Segment {
    const last = this.#tail
    if (last?.takes(bytes, at)) return last
    const segment = new Segment(this.#next, this.#bytes, at, last)
    this.#segments.push(segment)
    this.#tail = segment
    return segment
  }

  #segmentOf(seq: number): Segment | undefined {
    const newest = this.#tail
    if (newest && seq >= newest.first) return seq < newest.next ? newest : undefined
    const segments = this.#segments
    if (!newest || seq < (segments[0] as Segment).first) return undefined
    let low = 0
    let high = segments.length - 1
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

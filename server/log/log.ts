import { costOf } from '../../protocol/credit.ts'
import { MillraceError } from '../../protocol/errors.ts'
import { EVENT } from '../../protocol/events.ts'
import type { OpenLane, WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import { type Batch, BatchWriter, itemsOf, lanesBefore } from './log-batch.ts'
import { unpackPayload } from './payload.ts'
import { type Chunk, Segment } from './segment.ts'

export type { Chunk } from './segment.ts'

type LoggedLane = {
  readonly lane: number
  readonly data: WireMap
  readonly bytes: number
  readonly opened: number
  closed: number
}

/** The most values that one open lane takes in an OPENED: its pair, number and map, and five keys with their values. */
const VALUES_PER_LANE = 13

/** Fraction by which a log may exceed its retention before it is trimmed. Trimming each item costs a search each. */
const SLACK = 1 / 64

/** The `closed` of a lane that is still open. */
const OPEN = Number.POSITIVE_INFINITY

/** One life of a log: its number and the first item it wrote. */
export type Life = { readonly gen: number; readonly first: number }

type LogLimits = Pick<Limits, 'creditUnit' | 'retainEvents' | 'retainBytes' | 'maxEvent' | 'maxValues'>

/**
 * A run's output, numbered from 1 and encoded once. The log is in memory and synchronous: no promise is on the path of
 * a token. A log that exceeds its retention drops old items, but none that a pacing reader still needs.
 */
export class Log {
  // Fields that every item touches stand together, as in `Producer`.
  #next = 1
  /** The last item that readers may be sent. Undefined: every one. */
  #shown: number | undefined
  /** The last of the segments. */
  #tail: Segment | undefined
  #bytes = 0
  #first = 1
  /** Bytes of all items dropped. */
  #droppedBytes = 0
  readonly #limits: LogLimits
  /** High surrogates at the end of a text, each held for the next text of its lane, once there was one. */
  #held: Map<number, string> | undefined
  #gen = 1
  /** The last item that costs more than 1. */
  #lastCostly = 0
  #segments: Segment[] = []
  /** A segment that was dropped, until it is used again. */
  #dropped: Segment | undefined
  /** The open lanes, in the order in which they were opened, and the bytes that they take in an OPENED. */
  #open: LoggedLane[] = []
  #openBytes = 0
  /** Lanes that a kept item has closed, in the order in which they were closed. */
  #closed: LoggedLane[] = []
  readonly #lives: Life[] = [{ gen: 1, first: 1 }]
  /** When the first item was logged, in epoch milliseconds. */
  #firstAt: number | undefined

  constructor(limits: LogLimits) {
    this.#limits = limits
  }

  /** A log that begins at item `next`, without those before it. Their lives are known; the last one writes on. */
  static behind(limits: LogLimits, next: number, lives: readonly Life[]): Log {
    const log = new Log(limits)
    log.#next = log.#first = next
    log.#gen = lives[lives.length - 1]?.gen ?? 1
    log.#lives.splice(0, 1, ...lives)
    return log
  }

  /** The oldest item kept; equal to `next` when none is kept. */
  get first(): number {
    return this.#first
  }

  /** The number of the next item. */
  get next(): number {
    return this.#next
  }

  /** The last item that readers may be sent. Behind it there may be others that are to be stored first. */
  get last(): number {
    return this.#shown ?? this.#next - 1
  }

  /** The last item that was logged. */
  get written(): number {
    return this.#next - 1
  }

  /** Shows readers the items up to `seq` from now on, and no others until the next call. Without `seq`, all of them. */
  showThrough(seq?: number): void {
    this.#shown = seq
  }

  /** When item 1 was logged, in epoch milliseconds. Undefined: not yet, or in another process. */
  get firstAt(): number | undefined {
    return this.#firstAt
  }

  /** The number of the log's current life. */
  get gen(): number {
    return this.#gen
  }

  /** Bytes of all items kept. */
  get size(): number {
    return this.#bytes - this.#droppedBytes
  }

  /** Whether the log exceeds its retention by enough to make `trim` worth its cost. */
  get full(): boolean {
    return this.#exceeds(SLACK)
  }

  /** Its lives, the oldest first. */
  get lives(): readonly Life[] {
    return this.#lives
  }

  /** The first item of life `gen`; undefined when the log had no such life. */
  firstOf(gen: number): number | undefined {
    return this.#lives.find((life) => life.gen === gen)?.first
  }

  /** The life in which a position of life `gen` continues: of the later lives, the one with the lowest first item. */
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
   * Logs text, cut at code points into items of at most `creditUnit` bytes. A high surrogate at the end is held for the
   * lane's next text. Returns the number of items logged.
   */
  appendText(lane: number, text: string, at: number): number {
    const held = this.#held?.get(lane)
    let whole = text
    if (held !== undefined && text !== '') {
      this.#held?.delete(lane)
      whole = held + text
    }
    const tail = whole.charCodeAt(whole.length - 1)
    if (tail >= 0xd800 && tail <= 0xdbff) {
      this.#held = (this.#held ?? new Map<number, string>()).set(lane, whole.slice(-1))
      whole = whole.slice(0, -1)
    }
    if (whole === '') return 0
    const before = this.#next
    const { creditUnit } = this.#limits
    // A UTF-16 code unit takes at most three bytes, so only longer text is measured.
    const isOne =
      whole.length * 3 <= creditUnit || (whole.length <= creditUnit && Buffer.byteLength(whole) <= creditUnit)
    if (isOne) this.#appendItem(lane, whole, at)
    else for (const piece of cut(whole, creditUnit)) this.#appendItem(lane, piece, at)
    return this.#next - before
  }

  /**
   * Logs an event whose data is already packed and checked. `data` is the same value, for the lanes that it opens and
   * closes.
   * @throws MillraceError `bad_event` when the open lanes no longer fit into an OPENED.
   */
  appendEvent(type: number | string, packed: Uint8Array, data: WireMap, at: number): void {
    if (type === EVENT.laneEnd) this.flushHeld(Number(data['lane']), at)
    // Open lanes may fill half of an OPENED; pending requests have the other half.
    if (type === EVENT.laneStart && !this.#hasRoomFor(packed.length)) {
      throw new MillraceError(
        'bad_event',
        'too many lanes (agents, tool calls) are open at once, or their names are too long',
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
    this.#laneEvent(type, data, packed.length, seq)
  }

  /** Logs U+FFFD in place of a high surrogate that the lane's next text did not complete. */
  flushHeld(lane: number, at: number): void {
    if (this.#held?.delete(lane)) this.#appendItem(lane, '\ufffd', at)
  }

  /** Flushes every lane. Call it when the run ends: no further text can complete a held surrogate. */
  flushAllHeld(at: number): void {
    for (const lane of [...(this.#held?.keys() ?? [])]) this.flushHeld(lane, at)
    this.#dropped = undefined
  }

  /** Drops old items while the log exceeds its retention, but none from item `keep` on. */
  trim(keep: number): void {
    while (this.#exceeds(0) && this.#first < keep) {
      this.#droppedBytes = this.bytesThrough(this.#first)
      this.#first++
    }
    let spare = 0
    while (spare < this.#segments.length - 1 && (this.#segments[spare + 1] as Segment).first <= this.#first) spare++
    if (spare === 0) return
    const dropped = this.#segments.splice(0, spare)
    this.#dropped = dropped.find((segment) => !segment.isOversized)
    this.#closed.splice(0, this.#closedBefore(this.#first))
  }

  /** Drops all items, because the run is being forgotten. Item numbers and lives stay. */
  clear(): void {
    this.#first = this.#next
    this.#droppedBytes = this.#bytes
    this.#segments = []
    this.#tail = this.#dropped = undefined
    this.#setLanes([])
    this.#held = undefined
  }

  /**
   * Begins a new life at item `first`: items of earlier lives from there on are void. A store that comes back with
   * fewer items than were logged does this, and so does every take-over by another holder.
   */
  newLife(first: number): void {
    this.#enterLife({ gen: this.#gen + 1, first })
    // A log that keeps nothing can begin further on: what was between was never logged.
    if (first > this.#next && this.#first === this.#next) this.#first = this.#next = first
  }

  /**
   * Learns of lives that another process has begun. Items of earlier lives that are void in them are dropped.
   * @returns the first item of the new lives, if there is one.
   */
  enterLives(lives: readonly Life[]): number | undefined {
    const fresh = lives.filter(({ gen }) => gen > this.#gen)
    for (const life of fresh) this.#enterLife(life)
    return fresh.length > 0 ? Math.min(...fresh.map(({ first }) => first)) : undefined
  }

  #enterLife(life: Life): void {
    const { first } = life
    this.#lives.push(life)
    this.#gen = life.gen
    this.#lastCostly = Math.min(this.#lastCostly, first - 1)
    if (this.#shown !== undefined) this.#shown = Math.min(this.#shown, first - 1)
    // A held surrogate was never logged, so it belongs to no life.
    this.#held = undefined
    if (first >= this.#next) return
    while (this.#segments.length > 0 && (this.#segments[this.#segments.length - 1] as Segment).first >= first)
      this.#segments.pop()
    this.#tail = this.#segments[this.#segments.length - 1]
    this.#tail?.truncate(first)
    this.#bytes = this.#tail?.bytes ?? this.#droppedBytes
    this.#next = first
    const isBeforeAll = first < this.#first
    if (isBeforeAll) {
      this.#first = first
      this.#droppedBytes = this.#bytes
    }
    // When the lanes of a first batch were opened is not known. The batch that comes next says which are open there.
    const lanes = [...this.#closed, ...this.#open].filter(
      ({ opened }) => opened < first && (opened > 0 || !isBeforeAll),
    )
    for (const lane of lanes) if (lane.closed >= first) lane.closed = OPEN
    this.#setLanes(lanes)
  }

  /** Bytes logged up to and including item `seq`, over the whole run. */
  bytesThrough(seq: number): number {
    if (seq >= this.#next - 1) return this.#bytes
    return this.#segmentOf(seq + 1)?.bytesBefore(seq + 1) ?? 0
  }

  /** The cost of item `seq` in credits; 1 when the log does not have it. */
  costOf(seq: number): number {
    return this.#segmentOf(seq)?.costOf(seq) ?? 1
  }

  /** The number of consecutive items from `seq` on that are known to cost 1; 0 when item `seq` costs more. */
  unitsFrom(seq: number): number {
    return seq > this.#lastCostly ? this.#next - seq : (this.#segmentOf(seq)?.unitsFrom(seq) ?? 0)
  }

  /**
   * The items from `seq` on that fit into one frame of about `maxBytes`, none after `through`. Undefined when the log
   * has no item `seq`.
   */
  chunk(seq: number, through: number, maxBytes: number): Chunk | undefined {
    if (seq < this.#first || seq > through) return undefined
    return this.#segmentOf(seq)?.chunk(seq, through, maxBytes)
  }

  /** When item `seq` was logged, in epoch milliseconds. Undefined when the log does not have it. */
  timeOf(seq: number): number | undefined {
    return seq < this.#first ? undefined : this.#segmentOf(seq)?.timeOf(seq)
  }

  /** The items from `from` on, none after `through`: as many as `maxBytes` allows, and at least one. It has `from`. */
  batch(from: number, through: number, maxBytes: number): Batch {
    const batch = new BatchWriter(from)
    const gen = this.genAt(from)
    const end = Math.min(through, (this.lifeAfter(gen)?.first ?? Number.POSITIVE_INFINITY) - 1)
    while (batch.last < end) {
      const segment = this.#segmentOf(batch.last + 1)
      if (!segment || !batch.add(segment, batch.last + 1, maxBytes)) break
    }
    return batch.take(gen, this.lanesAt(from))
  }

  /**
   * Adds a batch of another log. Items that this one has are passed over. A log that keeps nothing takes from the batch
   * which lanes are open.
   * @param logged receives each event that this log did not have: its number, and its type and data as they are encoded.
   */
  add(batch: Batch, logged?: (seq: number, body: Uint8Array) => void): void {
    const isEmpty = this.#first === this.#next
    if (batch.last < this.#next && !isEmpty) return
    if (isEmpty) {
      if (batch.first > this.#next) this.#first = this.#next = batch.first
      const open = lanesBefore(batch)
      // When each was opened is not known, only in which order.
      this.#setLanes(open.map(([lane, data], i) => ({ lane, data, bytes: 0, opened: i - open.length, closed: OPEN })))
    }
    if (batch.gen > this.#gen) this.#lives.push({ gen: (this.#gen = batch.gen), first: this.#next })
    for (const { seq, mark, at, body } of itemsOf(batch)) {
      const isNew = seq >= this.#next
      if (isNew) this.#copyItem(mark, at, body)
      if (mark >= 0) continue
      if (isNew || isEmpty) this.#noteLane(body, seq)
      if (isNew) logged?.(seq, body)
    }
  }

  #copyItem(mark: number, at: number, body: Uint8Array): void {
    const segment = this.#segment(body.length, at)
    segment.begin(mark, at)
    segment.body.raw(body)
    this.#bytes = segment.bytes
    const seq = this.#next++
    if (mark < -1) this.#lastCostly = seq
  }

  /** An event that was logged elsewhere may open or close a lane. */
  #noteLane(body: Uint8Array, seq: number): void {
    const type = body[0]
    if (type !== EVENT.laneStart && type !== EVENT.laneEnd) return
    const data = unpackPayload(body.subarray(1)) as WireMap
    this.#laneEvent(type, data, body.length - 1, seq)
  }

  #laneEvent(type: number | string, data: WireMap, bytes: number, seq: number): void {
    if (type === EVENT.laneStart) {
      this.#open.push({ lane: Number(data['lane']), data, bytes, opened: seq, closed: OPEN })
      this.#openBytes += bytes
    } else if (type === EVENT.laneEnd) {
      const lane = this.#open.find((open) => open.lane === data['lane'])
      if (lane) this.#close(lane, seq)
    }
  }

  /** The lanes open just before item `seq`. */
  lanesAt(seq: number): OpenLane[] {
    if (this.#open.length === 0 && this.#closed.length === 0) return []
    // Near the end, where most readers stand, few lanes have been closed since.
    const closedSince = this.#closed.slice(this.#closedBefore(seq))
    const lanes = [...closedSince, ...this.#open].filter((lane) => lane.opened < seq)
    return lanes.sort((a, b) => a.opened - b.opened).map((lane) => [lane.lane, lane.data])
  }

  /** Returns whether the log exceeds its retention by more than the fraction `slack`. */
  #exceeds(slack: number): boolean {
    const { retainEvents, retainBytes } = this.#limits
    const allowed = 1 + slack
    return this.#next - this.#first > retainEvents * allowed || this.size > retainBytes * allowed
  }

  #hasRoomFor(bytes: number): boolean {
    const { maxEvent, maxValues } = this.#limits
    return this.#openBytes + bytes <= maxEvent / 2 && (this.#open.length + 1) * VALUES_PER_LANE <= maxValues / 2
  }

  #close(lane: LoggedLane, seq: number): void {
    lane.closed = seq
    this.#open.splice(this.#open.indexOf(lane), 1)
    this.#openBytes -= lane.bytes
    this.#closed.push(lane)
  }

  /** The number of lanes that were closed before item `seq`. */
  #closedBefore(seq: number): number {
    let low = 0
    let high = this.#closed.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#closed[middle] as LoggedLane).closed < seq) low = middle + 1
      else high = middle
    }
    return low
  }

  #setLanes(lanes: LoggedLane[]): void {
    this.#open = lanes.filter((lane) => lane.closed === OPEN).sort((a, b) => a.opened - b.opened)
    this.#openBytes = this.#open.reduce((sum, lane) => sum + lane.bytes, 0)
    this.#closed = lanes.filter((lane) => lane.closed < OPEN)
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
    const segment = this.#dropped
      ? this.#dropped.renew(this.#next, this.#bytes, at)
      : new Segment(this.#next, this.#bytes, at, last)
    this.#dropped = undefined
    if (this.#next === 1) this.#firstAt ??= at
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

/** Cuts text at code points into pieces of at most `maxBytes` bytes of UTF-8. */
function* cut(text: string, maxBytes: number): Generator<string> {
  let start = 0
  let bytes = 0
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    const pair = unit >= 0xd800 && unit <= 0xdbff && isLow(text.charCodeAt(i + 1))
    const size = pair ? 4 : unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3
    if (bytes + size > maxBytes) {
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

import type { CreditWindow } from '../protocol/credit.ts'
import * as EVENT from '../protocol/event-type.ts'
import { fromWire, type StreamEvent } from '../protocol/events.ts'
import type { Delta, EventFrame, Gap, Opened, OpenLane, WireMap } from '../protocol/frames.ts'
import type { ClientRuntime } from '../protocol/runtime.ts'

/** Something that waits for the reader: an event, or the texts of one frame. */
type Entry = {
  /** The items that it still covers. None for a request that OPENED or GAP repeats. */
  first: number
  last: number
  /** The items of the event or of each text: several for merged text and for a gap. */
  readonly span: number
  /** The cost of the event, or of each text. */
  readonly cost: number
  readonly gen: number | undefined
  readonly at: number
  /** The texts. Undefined for an event. */
  readonly texts: string | string[] | undefined
  /** The event, or the fields that the texts share. Undefined for an event that readers do not get, and for plain text. */
  readonly common: object | undefined
}

/**
 * The items of one stream that wait for its reader, in order. It checks that each follows the one before. Credit bounds
 * it: the server may send no more than the window. A class, so that a token finds all of it in one place: where a page has
 * hundreds of runs, reaching for memory is most of what a token costs.
 */
export class Inbox {
  /** Number of the last item that arrived. null for a live view that was not opened yet. */
  last: number | null
  /** The life of the log that items come from, once it is known. */
  gen: number | undefined
  /** The same two of the last item that was read. */
  lastRead: number | null
  genRead: number | undefined
  readonly #window: CreditWindow
  readonly #queue: Entry[] = []
  /** The open lanes, with the fields that all texts of each share. */
  #lanes: Map<unknown, object> | undefined
  readonly #runtime: ClientRuntime

  /** @param runtime Its wall clock is the time of items that come without one. */
  constructor(window: CreditWindow, runtime: ClientRuntime, last: number | null, gen: number | undefined) {
    this.last = this.lastRead = last
    this.gen = this.genRead = gen
    this.#window = window
    this.#runtime = runtime
  }

  /** The stream was opened, `isFirst` for the first time. */
  opened({ next, gen, lanes, pending }: Opened, isFirst: boolean): void {
    // The position of any other stream is known, and only a GAP moves it.
    this.last ??= this.lastRead = next - 1
    this.gen ??= gen
    this.genRead ??= gen
    this.#replaceLanes(lanes)
    // A reader that begins at item 1, or was here before, has their items or will get them.
    if (isFirst && next > 1 && next === this.last + 1) this.#addRequests(pending)
  }

  /** Adds text that is new. Returns false when the frame does not follow, or costs more than the credit allows. */
  text({ seq, lane, body, count = 1, ts }: Delta): boolean {
    const items = Array.isArray(body) ? body.length : count
    const n = this.#known(seq, items, items, count)
    // `n` is 0 for text that was merged: it is new as a whole.
    if (n >= 0 && n < items)
      this.#push(this.#lanes?.get(lane), count, count, ts, n ? body.slice(n) : body, (items - n) / count)
    return n >= 0
  }

  /** The same for an event. The start and end of a lane wait as well, hidden: they have a number and a cost. */
  event({ seq, type, data, cost, ts }: EventFrame): boolean {
    const n = this.#known(seq, 1, cost)
    if (n === 0) {
      if (type === EVENT.laneStart) this.#declare([data['lane'] as number, data])
      if (type === EVENT.laneEnd) this.#lanes?.delete(data['lane'])
      this.#push(fromWire(type, data), cost, 1, ts)
    }
    return n >= 0
  }

  /** The next item will be `next`. Items before it are missing, or the items that came from there on are void. */
  gap({ next, reason, gen = this.gen, lanes, pending }: Gap): void {
    const isVoid = next <= this.last!
    let from = isVoid ? next : this.last! + 1
    this.gen = gen
    const queue = this.#queue
    while ((queue.at(-1)?.last as number) >= next) {
      // A gap is shortened. Merged text cannot be cut, so that its items before `next` are missing.
      const entry = queue.at(-1)!
      this.#window.released(entry.cost)
      entry.last -= entry.span
      from = Math.min(from, entry.last + 1)
      if (entry.last < entry.first) queue.pop()
    }
    this.last = from - 1
    const wasRead = next <= this.lastRead!
    if (wasRead) this.lastRead = this.last
    if (wasRead || from < next)
      this.#push({ type: 'gap', from, next, reason: isVoid ? 'rewound' : reason }, 0, next - from)
    this.#replaceLanes(lanes)
    if (!isVoid && from < next) this.#addRequests(pending)
  }

  /** Removes the next item for the reader and frees its credit. Undefined while none waits. */
  take(): StreamEvent | undefined {
    const queue = this.#queue
    while (queue.length > 0) {
      const entry = queue[0]!
      const { span, cost, at, texts, common } = entry
      const seq = (entry.first += span) - 1
      if (seq >= entry.last) queue.shift()
      this.#window.released(cost)
      this.lastRead = seq
      this.genRead = entry.gen
      if (texts !== undefined) {
        const event = { type: 'token', seq, at, text: Array.isArray(texts) ? texts.shift() : texts }
        return (common ? { ...event, ...common } : event) as StreamEvent
      }
      if (common) return { ...common, seq, at } as StreamEvent
    }
    return undefined
  }

  #push(
    common: object | undefined,
    cost: number,
    span: number,
    at = this.#runtime.wallClock(),
    texts?: string | string[],
    count = 1,
  ): void {
    this.#window.arrived(cost * count)
    this.#queue.push({
      first: this.last! + 1,
      last: (this.last! += span * count),
      span,
      cost,
      gen: this.gen,
      at,
      texts,
      common,
    })
  }

  /**
   * The number of the `count` items from `seq` on that arrived before; their cost goes back. -1 when the items do not
   * follow or cost too much. Where `span` items were merged into one text, they cannot be separated.
   */
  #known(seq: number, count: number, cost: number, span = 1): number {
    const n = Math.min(count, this.last! + 1 - seq)
    if (n < 0 || n % span > 0 || !this.#window.allows(cost, count)) return -1
    this.#window.returned((n * cost) / count)
    return n
  }

  /** The lanes that OPENED or GAP lists are all that are open there. */
  #replaceLanes(open: readonly OpenLane[] = []): void {
    this.#lanes = undefined
    for (const lane of open) this.#declare(lane)
  }

  #declare([number, { lane: _lane, message: _message, type, ...common }]: OpenLane): void {
    this.#lanes ??= new Map()
    this.#lanes.set(number, { ...common, type: type === 'text' ? 'token' : type === 'tool_args' ? 'tool.args' : type })
  }

  /** Adds requests that have no answer, for a reader that will not get their items. */
  #addRequests(requests: readonly WireMap[] = []): void {
    for (const data of requests) this.#push(fromWire(EVENT.inputRequest, data), 0, 0)
  }
}

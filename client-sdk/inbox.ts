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
 * it: the server may send no more than the window.
 */
export interface Inbox {
  /** Number of the last item that arrived. null for a live view that was not opened yet. */
  last: number | null
  /** The life of the log that items come from, once it is known. */
  gen: number | undefined
  /** The same two of the last item that was read. */
  read: { seq: number | null; gen: number | undefined }
  /** The stream was opened, `isFirst` for the first time. */
  opened(frame: Opened, isFirst: boolean): void
  /** Adds text that is new. Returns false when the frame does not follow, or costs more than the credit allows. */
  text(frame: Delta): boolean
  /** The same for an event. The start and end of a lane wait as well, hidden: they have a number and a cost. */
  event(frame: EventFrame): boolean
  /** The next item will be `next`. Items before it are missing, or the items that came from there on are void. */
  gap(frame: Gap): void
  /** Removes the next item for the reader and frees its credit. Undefined while none waits. */
  take(): StreamEvent | undefined
}

/** @param runtime Its wall clock is the time of items that come without one. */
export function createInbox(
  window: CreditWindow,
  runtime: ClientRuntime,
  last: number | null,
  gen: number | undefined,
): Inbox {
  const queue: Entry[] = []
  /** The open lanes, with the fields that all texts of each share. */
  let lanes: Map<unknown, object> | undefined

  const push = (
    common: object | undefined,
    cost: number,
    span: number,
    at = runtime.wallClock(),
    texts?: string | string[],
    count = 1,
  ): void => {
    window.arrived(cost * count)
    queue.push({
      first: inbox.last! + 1,
      last: (inbox.last! += span * count),
      span,
      cost,
      gen: inbox.gen,
      at,
      texts,
      common,
    })
  }

  /**
   * The number of the `count` items from `seq` on that arrived before; their cost goes back. -1 when the items do not
   * follow or cost too much. Where `span` items were merged into one text, they cannot be separated.
   */
  const known = (seq: number, count: number, cost: number, span = 1): number => {
    const n = Math.min(count, inbox.last! + 1 - seq)
    if (n < 0 || n % span > 0 || !window.allows(cost, count)) return -1
    window.returned((n * cost) / count)
    return n
  }

  /** The lanes that OPENED or GAP lists are all that are open there. */
  const replaceLanes = (open: readonly OpenLane[] = []): void => {
    lanes = undefined
    open.forEach(declare)
  }

  const declare = ([number, { lane: _lane, message: _message, type, ...common }]: OpenLane): void => {
    lanes ??= new Map()
    lanes.set(number, { ...common, type: type === 'text' ? 'token' : type === 'tool_args' ? 'tool.args' : type })
  }

  /** Adds requests that have no answer, for a reader that will not get their items. */
  const addRequests = (requests: readonly WireMap[] = []): void => {
    for (const data of requests) push(fromWire(EVENT.inputRequest, data), 0, 0)
  }

  const inbox: Inbox = {
    last,
    gen,
    read: { seq: last, gen },

    opened({ next, gen, lanes, pending }, isFirst) {
      // The position of any other stream is known, and only a GAP moves it.
      inbox.last ??= inbox.read.seq = next - 1
      inbox.gen ??= gen
      inbox.read.gen ??= gen
      replaceLanes(lanes)
      // A reader that begins at item 1, or was here before, has their items or will get them.
      if (isFirst && next > 1 && next === inbox.last + 1) addRequests(pending)
    },

    text({ seq, lane, body, count = 1, ts }) {
      const items = Array.isArray(body) ? body.length : count
      const n = known(seq, items, items, count)
      // `n` is 0 for text that was merged: it is new as a whole.
      if (n >= 0 && n < items) push(lanes?.get(lane), count, count, ts, n ? body.slice(n) : body, (items - n) / count)
      return n >= 0
    },

    event({ seq, type, data, cost, ts }) {
      const n = known(seq, 1, cost)
      if (n === 0) {
        if (type === EVENT.laneStart) declare([data['lane'] as number, data])
        if (type === EVENT.laneEnd) lanes?.delete(data['lane'])
        push(fromWire(type, data), cost, 1, ts)
      }
      return n >= 0
    },

    gap({ next, reason, gen = inbox.gen, lanes, pending }) {
      const isVoid = next <= inbox.last!
      let from = isVoid ? next : inbox.last! + 1
      inbox.gen = gen
      while ((queue.at(-1)?.last as number) >= next) {
        // A gap is shortened. Merged text cannot be cut, so that its items before `next` are missing.
        const entry = queue.at(-1)!
        window.released(entry.cost)
        entry.last -= entry.span
        from = Math.min(from, entry.last + 1)
        if (entry.last < entry.first) queue.pop()
      }
      inbox.last = from - 1
      const wasRead = next <= inbox.read.seq!
      if (wasRead) inbox.read.seq = inbox.last
      if (wasRead || from < next) push({ type: 'gap', from, next, reason: isVoid ? 'rewound' : reason }, 0, next - from)
      replaceLanes(lanes)
      if (!isVoid && from < next) addRequests(pending)
    },

    take() {
      while (queue.length > 0) {
        const entry = queue[0]!
        const { span, cost, at, texts, common } = entry
        const seq = (entry.first += span) - 1
        if (seq >= entry.last) queue.shift()
        window.released(cost)
        inbox.read.seq = seq
        inbox.read.gen = entry.gen
        if (texts !== undefined) {
          const event = { type: 'token', seq, at, text: Array.isArray(texts) ? texts.shift() : texts }
          return (common ? { ...event, ...common } : event) as StreamEvent
        }
        if (common) return { ...common, seq, at } as StreamEvent
      }
      return undefined
    },
  }
  return inbox
}

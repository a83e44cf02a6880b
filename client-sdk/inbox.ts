import type { CreditWindow } from '../protocol/credit.ts'
import * as EVENT from '../protocol/event-type.ts'
import { fromWire, type StreamEvent } from '../protocol/events.ts'
import type { Delta, EventFrame, Gap, Opened, OpenLane, WireMap } from '../protocol/frames.ts'
import type { ClientRuntime } from '../protocol/runtime.ts'

/** Something that waits for the reader. */
type Entry = {
  /** The items it covers: several for merged text and for a gap, none for a request repeated by OPENED or GAP. */
  first: number
  last: number
  cost: number
  gen: number | undefined
  /** Undefined for an event that readers do not get. */
  event: StreamEvent | undefined
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
  const lanes = new Map<unknown, object>()

  const push = (event: object | undefined, span: number, cost: number, at = runtime.wallClock()): void => {
    const first = inbox.last! + 1
    const last = (inbox.last! += span)
    window.arrived(cost)
    const numbered = event as StreamEvent | undefined
    if (numbered) {
      numbered.seq = last
      numbered.at = at
    }
    queue.push({ first, last, cost, gen: inbox.gen, event: numbered })
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
    lanes.clear()
    open.forEach(declare)
  }

  const declare = ([number, { lane: _lane, message: _message, type, ...common }]: OpenLane): void => {
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

    text({ seq, lane, body, count = 1, ts = runtime.wallClock() }) {
      const texts = typeof body === 'string' ? [body] : body
      const items = texts.length * count
      const common = lanes.get(lane)
      let n = known(seq, items, items, count)
      if (n < 0) return false
      for (; n < texts.length; n++) {
        // With the place for what `push` sets: a property that is added to an object later costs another object.
        const event = { type: 'token', seq: 0, at: 0, text: texts[n] }
        push(common ? { ...event, ...common } : event, count, count, ts)
      }
      return true
    },

    event({ seq, type, data, cost, ts }) {
      const n = known(seq, 1, cost)
      if (n === 0) {
        if (type === EVENT.laneStart) declare([data['lane'] as number, data])
        if (type === EVENT.laneEnd) lanes.delete(data['lane'])
        push(fromWire(type, data), 1, cost, ts)
      }
      return n >= 0
    },

    gap({ next, reason, gen = inbox.gen, lanes, pending }) {
      const isVoid = next <= inbox.last!
      let from = isVoid ? next : inbox.last! + 1
      inbox.gen = gen
      while (queue.length > 0 && queue.at(-1)!.last >= next) {
        const { first, cost } = queue.pop()!
        window.released(cost)
        // A gap is shortened. Merged text cannot be cut, so that its items before `next` are missing.
        from = Math.min(from, first)
      }
      inbox.last = from - 1
      const wasRead = next <= inbox.read.seq!
      if (wasRead) inbox.read.seq = inbox.last
      if (wasRead || from < next) push({ type: 'gap', from, next, reason: isVoid ? 'rewound' : reason }, next - from, 0)
      replaceLanes(lanes)
      if (!isVoid && from < next) addRequests(pending)
    },

    take() {
      while (queue.length > 0) {
        const { last, cost, gen, event } = queue.shift()!
        window.released(cost)
        inbox.read.seq = last
        inbox.read.gen = gen
        if (event) return event
      }
      return undefined
    },
  }
  return inbox
}

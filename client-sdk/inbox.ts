import type { CreditWindow } from '../protocol/credit.ts'
import * as EVENT from '../protocol/event-type.ts'
import { fromWire, type StreamEvent } from '../protocol/events.ts'
import type { Delta, EventFrame, Gap, OpenLane, WireMap } from '../protocol/frames.ts'

/** An item that waits. */
type Entry = {
  /** The numbers it covers: several for merged text and for a gap, none for what the log does not have. */
  first: number
  last: number
  cost: number
  gen: number | undefined
  /** Absent for what is hidden from readers. */
  event: StreamEvent | undefined
}

/** What waits for one reader, in order. Credit bounds it: the sender may not send more than the window. */
export interface Inbox {
  /** Number of the last item that came, and the life of the log that items come from. */
  last: number
  gen: number | undefined
  /** The same of the last item that was read. */
  readSeq: number
  readGen: number | undefined
  /** Text came, of which the first `known` items had come before. */
  text(frame: Delta, known: number): void
  /** Anything else came. What opens or closes a part waits as well, hidden: it has a number and a cost. */
  event(frame: EventFrame): void
  /** The next item will be `next`: those before it are missing, or what came from there on is void. */
  gap(frame: Gap): void
  /** Parts that are open where the next item begins. */
  open(lanes?: readonly OpenLane[]): void
  /** Requests that nobody has answered, for a reader who comes too late for their items. */
  pending(requests?: readonly WireMap[]): void
  /** The next item for the reader, whose credit is then free; undefined while none waits. */
  take(): StreamEvent | undefined
}

/** @param now the time of what came without one, epoch milliseconds. */
export function createInbox(window: CreditWindow, now: () => number, last: number, gen: number | undefined): Inbox {
  const queue: Entry[] = []
  /** What the events of an open part have in common. */
  const lanes = new Map<unknown, object>()

  const push = (event: object | undefined, span: number, cost: number, at = now()): void => {
    const first = inbox.last + 1
    const last = (inbox.last += span)
    window.arrived(cost)
    if (event) Object.assign(event, { seq: last, at })
    queue.push({ first, last, cost, gen: inbox.gen, event: event as StreamEvent | undefined })
  }

  const inbox: Inbox = {
    last,
    gen,
    readSeq: last,
    readGen: gen,

    text({ lane, body, count = 1, ts }, known) {
      const texts = typeof body === 'string' ? [body] : body
      for (const text of texts.slice(known)) push({ type: 'token', ...lanes.get(lane), text }, count, count, ts)
    },

    event({ type, data, cost, ts }) {
      if (type === EVENT.laneStart) inbox.open([[data['lane'] as number, data]])
      if (type === EVENT.laneEnd) lanes.delete(data['lane'])
      push(fromWire(type, data), 1, cost, ts)
    },

    gap({ next, reason }) {
      let from = inbox.last + 1
      const isVoid = next < from
      if (isVoid) from = next
      while (isVoid && queue.length > 0 && queue.at(-1)!.last >= next) {
        const { first, cost } = queue.pop()!
        window.released(cost)
        // A gap is shortened. Merged text cannot be cut: what still counts of it is missing then.
        from = Math.min(from, first)
      }
      inbox.last = from - 1
      const wasRead = next <= inbox.readSeq
      if (wasRead) inbox.readSeq = inbox.last
      if (wasRead || from < next) push({ type: 'gap', from, next, reason: isVoid ? 'rewound' : reason }, next - from, 0)
    },

    open(open: readonly OpenLane[] | undefined = []) {
      for (const [number, { lane: _lane, message: _message, type, ...common }] of open)
        lanes.set(number, {
          ...common,
          type: type === 'text' ? 'token' : type === 'tool_args' ? 'tool.args' : type,
        })
    },

    pending(requests = []) {
      for (const data of requests) push(fromWire(EVENT.inputRequest, data), 0, 0)
    },

    take() {
      while (queue.length > 0) {
        const { last, cost, gen, event } = queue.shift()!
        window.released(cost)
        inbox.readSeq = last
        inbox.readGen = gen
        if (event) return event
      }
      return undefined
    },
  }
  return inbox
}

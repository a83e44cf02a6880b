import type { CreditWindow } from '../protocol/credit.ts'
import { EVENT, fromWire, type StreamEvent } from '../protocol/events.ts'
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
export class Inbox {
  /** Number of the last item that came, and the life of the log that items come from. */
  last = 0
  gen: number | undefined
  /** The same of the last item that was read. */
  readSeq = 0
  readGen: number | undefined
  readonly #window: CreditWindow
  readonly #queue: Entry[] = []
  /** What the events of an open part have in common. */
  readonly #lanes = new Map<unknown, object>()

  constructor(window: CreditWindow) {
    this.#window = window
  }

  /** Text came, of which the first `known` items had come before. */
  text({ lane, body, count = 1 }: Delta, known: number, at: number): void {
    const common = this.#lanes.get(lane) ?? { type: 'token' }
    const texts = typeof body === 'string' ? [body] : body.slice(known)
    for (const text of texts) this.#push({ ...common, text }, count, count, at)
  }

  /** Anything else came. What opens or closes a part waits as well, hidden: it has a number and a cost. */
  event({ type, data, cost }: EventFrame, at: number): void {
    if (type === EVENT.partStart) this.open([[data['lane'] as number, data]])
    if (type === EVENT.partEnd) this.#lanes.delete(data['lane'])
    this.#push(fromWire(type, data), 1, cost, at)
  }

  /** The next item will be `next`: those before it are missing, or what came from there on is void. */
  gap({ next, reason }: Gap, at: number): void {
    let from = this.last + 1
    const isVoid = next < from
    if (isVoid) from = next
    for (let entry = this.#queue.at(-1); isVoid && entry && entry.last >= next; entry = this.#queue.at(-1)) {
      this.#queue.pop()
      this.#window.released(entry.cost)
      // A gap is shortened. Merged text cannot be cut: what still counts of it is missing then.
      from = Math.min(from, entry.first)
    }
    this.last = from - 1
    const wasRead = next <= this.readSeq
    if (wasRead) this.readSeq = this.last
    const event = { type: 'gap', from, next, reason: isVoid ? 'rewound' : reason }
    if (wasRead || from < next) this.#push(event, next - from, 0, at)
  }

  /** Parts that are open where the next item begins. */
  open(lanes: readonly OpenLane[] = []): void {
    for (const [number, { lane: _lane, message: _message, type, ...common }] of lanes)
      this.#lanes.set(number, {
        ...common,
        type: type === 'text' ? 'token' : type === 'tool_args' ? 'tool.args' : type,
      })
  }

  /** Requests that nobody has answered, for a reader who comes too late for their items. */
  pending(requests: readonly WireMap[] | undefined = [], at: number): void {
    for (const data of requests) this.#push(fromWire(EVENT.inputRequest, data), 0, 0, at)
  }

  /** The next item for the reader, whose credit is then free; undefined while none waits. */
  take(): StreamEvent | undefined {
    for (let entry = this.#queue.shift(); entry; entry = this.#queue.shift()) {
      this.#window.released(entry.cost)
      this.readSeq = entry.last
      this.readGen = entry.gen
      if (entry.event) return entry.event
    }
    return undefined
  }

  #push(event: object | undefined, span: number, cost: number, at: number): void {
    const first = this.last + 1
    const last = (this.last += span)
    this.#window.arrived(cost)
    if (event) Object.assign(event, { seq: last, at })
    this.#queue.push({ first, last, cost, gen: this.gen, event: event as StreamEvent | undefined })
  }
}

import { MillraceError } from '../../protocol/errors.ts'
import { EVENT, type PlainEvent, type RunEvent, toWire } from '../../protocol/events.ts'
import type { WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Usage } from '../../protocol/receipt.ts'
import { Lanes } from './lanes.ts'
import type { Log } from './log.ts'
import { packPayload } from './payload.ts'
import { RecordedItem } from './recorded.ts'

/**
 * The result of one write. `event` also stands for a text that opened or closed a lane. Events are sent without waiting
 * for a batch.
 */
export type Written = 'nothing' | 'text' | 'event'

/** Gives the time of logging, in epoch milliseconds. */
type Clock = { readonly wallClock: number }

/** Members of a usage that count tokens, and whether they may be left out. */
const TOKENS = { input: false, output: false, cached: true, thinking: true } as const

/** @throws MillraceError `bad_event` for figures that cannot be added up. */
function checkUsage(usage: Usage): void {
  for (const [name, isOptional] of Object.entries(TOKENS)) {
    const n: unknown = usage[name as keyof typeof TOKENS]
    if (!(isOptional && n === undefined) && !(Number.isSafeInteger(n) && (n as number) >= 0))
      throw new MillraceError('bad_event', `usage.${name} must be an integer of at least 0, not ${shown(n)}`)
  }
  const cost: unknown = usage.cost
  if (cost !== undefined && !(Number.isFinite(cost) && (cost as number) >= 0))
    throw new MillraceError('bad_event', `usage.cost must be a number of at least 0, not ${shown(cost)}`)
}

function shown(value: unknown): string {
  return typeof value === 'number' ? String(value) : `a ${value === null ? 'null' : typeof value}`
}

/** Writes an actor's output into the log of its run: checked, cut, and encoded once. */
export class LogWriter {
  readonly #log: Log
  readonly #clock: Clock
  readonly #limits: Limits
  /** Created for the first output that is not plain text. */
  #lanes: Lanes | undefined
  #nextLane = 1
  /** Whether the current call of `write` has logged an event. */
  #wroteEvent = false

  constructor(log: Log, clock: Clock, limits: Limits) {
    this.#log = log
    this.#clock = clock
    this.#limits = limits
  }

  /** The number of the next lane. */
  get nextLane(): number {
    return this.#lanes?.next ?? this.#nextLane
  }

  /**
   * Goes on in another process: lanes that are open are closed, and new ones begin with this number.
   * @param agents those that have not ended, each with the one that began it.
   */
  restore(nextLane: number, agents: readonly (readonly [agent: string, parent: string | null])[]): void {
    this.#nextLane = nextLane
    if (agents.length > 0) this.#lanes = this.#makeLanes(agents)
    for (const [lane] of this.#log.lanesAt(this.#log.next)) this.#writeEvent(EVENT.laneEnd, { lane })
  }

  /**
   * Logs one value that an actor yielded or emitted.
   * @throws MillraceError `bad_event` for a value that cannot be logged.
   */
  write(event: string | RunEvent | RecordedItem): Written {
    try {
      if (typeof event === 'string' && (this.#lanes === undefined || this.#lanes.plain))
        return this.#writeText(0, event) ? 'text' : 'nothing'
      if (event instanceof RecordedItem) return this.#writeRecorded(event)
      this.#wroteEvent = false
      const isText = this.#writeOnLane(typeof event === 'string' ? { type: 'token', text: event } : event)
      return this.#wroteEvent ? 'event' : isText ? 'text' : 'nothing'
    } catch (cause) {
      if (MillraceError.is(cause)) throw cause
      throw new MillraceError('bad_event', 'the actor yielded something that is neither text nor an event', { cause })
    }
  }

  /** Returns whether an event can be logged. Tools check this before they emit data of unknown origin. */
  accepts(event: PlainEvent): boolean {
    try {
      packPayload(toWire(event).data, this.#limits)
      return true
    } catch {
      return false
    }
  }

  /** Writes an event, or text on its lane. Returns true when text was logged. */
  #writeOnLane(event: RunEvent): boolean {
    this.#lanes ??= this.#makeLanes([])
    if (event.type !== 'token' && event.type !== 'thinking' && event.type !== 'tool.args') {
      this.#writePlain(event, this.#lanes)
      return false
    }
    if (typeof event.text !== 'string')
      throw new MillraceError('bad_event', `the text of a ${event.type} event must be a string`)
    return this.#writeText(this.#lanes.laneOf(event), event.text)
  }

  #makeLanes(agents: readonly (readonly [agent: string, parent: string | null])[]): Lanes {
    return new Lanes((type, data) => this.#writeEvent(type, data), this.#nextLane, agents)
  }

  #writePlain(event: PlainEvent, lanes: Lanes): void {
    const { type, data } = toWire(event)
    if (type === undefined) {
      const unknown = JSON.stringify(event.type)
      throw new MillraceError('bad_event', `the actor yielded an event of the unknown type ${unknown}`)
    }
    if (event.type === 'usage') checkUsage(event)
    if (event.type === 'agent.end' && event.usage !== undefined) checkUsage(event.usage)
    lanes.before(event)
    this.#writeEvent(type, data)
  }

  #writeRecorded({ content }: RecordedItem): Written {
    if ('text' in content) return this.#writeText(content.lane, content.text) ? 'text' : 'nothing'
    this.#writeEvent(content.type, content.data)
    return 'event'
  }

  /** Returns false when nothing was logged: the text is empty, or is a lone high surrogate, which the log holds. */
  #writeText(lane: number, text: string): boolean {
    return this.#log.appendText(lane, text, this.#clock.wallClock) > 0
  }

  #writeEvent(type: number | string, data: WireMap): void {
    this.#log.appendEvent(type, packPayload(data, this.#limits), data, this.#clock.wallClock)
    this.#wroteEvent = true
  }
}

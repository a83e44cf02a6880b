import { MillraceError } from '../protocol/errors.ts'
import { type PlainEvent, type RunEvent, type TextEvent, toWire } from '../protocol/events.ts'
import type { WireMap } from '../protocol/frames.ts'
import type { Limits } from '../protocol/limits.ts'
import type { Log } from './log.ts'
import { Parts } from './parts.ts'
import type { Turns } from './turns.ts'
import { packPayload } from './wire.ts'

/** Writes what an actor says into the log of its run: checked, cut, and encoded once. */
export class Scribe {
  readonly #log: Log
  readonly #turns: Turns
  readonly #limits: Limits
  readonly #written: (urgent: boolean) => void
  readonly #parts: Parts

  /** @param written told after each item or text; `urgent` for what is not text, which nobody should wait for. */
  constructor(log: Log, turns: Turns, limits: Limits, written: (urgent: boolean) => void) {
    this.#log = log
    this.#turns = turns
    this.#limits = limits
    this.#written = written
    this.#parts = new Parts((type, data) => this.#writeEvent(type, data))
  }

  /** @throws MillraceError `bad_event` for what cannot be logged. */
  write(event: string | RunEvent): void {
    try {
      if (typeof event === 'string') {
        if (this.#parts.plain) this.#writeText(0, event)
        else this.#writePart({ type: 'token', text: event })
      } else if (event.type === 'token' || event.type === 'thinking' || event.type === 'tool.args')
        this.#writePart(event)
      else this.#writePlain(event)
    } catch (cause) {
      if (MillraceError.is(cause)) throw cause
      throw new MillraceError('bad_event', 'the actor yielded something that is neither text nor an event', { cause })
    }
  }

  /** Whether an event could be logged: a tool asks before it says what others made. */
  accepts(event: PlainEvent): boolean {
    try {
      packPayload(toWire(event).data, this.#limits)
      return true
    } catch {
      return false
    }
  }

  #writePart(event: TextEvent): void {
    if (typeof event.text !== 'string')
      throw new MillraceError('bad_event', `the text of a ${event.type} event must be a string`)
    this.#writeText(this.#parts.laneOf(event), event.text)
  }

  #writePlain(event: PlainEvent): void {
    const { type, data } = toWire(event)
    if (type === undefined) {
      const unknown = JSON.stringify(event.type)
      throw new MillraceError('bad_event', `the actor yielded an event of the unknown type ${unknown}`)
    }
    this.#parts.before(event)
    this.#writeEvent(type, data)
  }

  #writeText(lane: number, text: string): void {
    if (this.#log.appendText(lane, text, this.#turns.wallClock) > 0) this.#written(false)
  }

  #writeEvent(type: number | string, data: WireMap): void {
    this.#log.appendEvent(type, packPayload(data, this.#limits), data, this.#turns.wallClock)
    this.#written(true)
  }
}

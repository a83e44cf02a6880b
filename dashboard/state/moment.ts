import type { StreamEvent } from 'millrace/client'
import { createRunParts, type RunPart, type RunParts } from 'millrace/react'

/** A run as it was at a moment of its log. Going forward reads on; going back begins again. */
export class Moment {
  #parts: RunParts = createRunParts()
  #read = 0
  #at = Number.NEGATIVE_INFINITY

  /** The number of events that have happened by then. */
  get read(): number {
    return this.#read
  }

  /**
   * @param count events that are read of the array.
   * @param ms since the first event.
   */
  partsAt(events: readonly StreamEvent[], count: number, ms: number): readonly RunPart[] {
    const end = (events[0]?.at ?? 0) + ms
    if (end < this.#at) {
      this.#parts = createRunParts()
      this.#read = 0
    }
    this.#at = end
    while (this.#read < count && events[this.#read]!.at <= end) this.#parts.read(events[this.#read++]!)
    return this.#parts.list()
  }
}

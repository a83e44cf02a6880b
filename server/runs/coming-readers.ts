import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { Cursor } from '../log/cursor.ts'
import type { Log } from '../log/log.ts'
import type { Pacer } from '../log/readers.ts'

/** How long a worker waits to hear of the first reader, in milliseconds. */
const COMING_MS = 1_000

/**
 * The readers of a run that a worker has just begun. Whoever started it on another server reads it there, and the worker
 * hears of that a moment later. Until then the actor goes no further than the first credit of a reader allows.
 */
export class ComingReaders implements Pacer {
  readonly safeThrough: number = Number.POSITIVE_INFINITY
  readonly #limits: Limits
  /** Where such a reader would stand. */
  readonly #cursor: Cursor
  readonly #moved: () => void
  /** Undefined: they have come, or nobody comes. */
  #timer: Timer | undefined

  /** @param moved called when the actor may go on. */
  constructor(log: Log, limits: Limits, runtime: Pick<Runtime, 'setTimer'>, moved: () => void) {
    this.#limits = limits
    this.#cursor = new Cursor(log, { last: log.written, gen: log.gen }, limits.initialCredit, limits.maxCredit)
    this.#moved = moved
    this.#timer = runtime.setTimer(COMING_MS, () => this.came())
  }

  room(): number {
    return this.#timer ? this.#cursor.room(this.#limits, Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY
  }

  /** The first of them is here, or none is to be waited for. */
  came(): void {
    if (!this.#timer) return
    this.close()
    this.#moved()
  }

  /** The run is over, or is this process's no more: nobody is waited for, and nothing may go on. */
  close(): void {
    this.#timer?.clear()
    this.#timer = undefined
  }
}

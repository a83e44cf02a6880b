import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
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
  readonly #log: Pick<Log, 'written'>
  readonly #most: number
  readonly #moved: () => void
  /** Undefined: they have come, or nobody comes. */
  #timer: Timer | undefined

  /** @param moved called when the actor may go on. */
  constructor(
    log: Pick<Log, 'written'>,
    { initialCredit, readAhead }: Pick<Limits, 'initialCredit' | 'readAhead'>,
    runtime: Pick<Runtime, 'setTimer'>,
    moved: () => void,
  ) {
    this.#log = log
    this.#most = initialCredit + readAhead
    this.#moved = moved
    this.#timer = runtime.setTimer(COMING_MS, () => this.came())
  }

  room(): number {
    return this.#timer ? Math.max(0, this.#most - this.#log.written) : Number.POSITIVE_INFINITY
  }

  /** The first of them is here, or none is to be waited for. */
  came(): void {
    if (!this.#timer) return
    this.#timer.clear()
    this.#timer = undefined
    this.#moved()
  }
}

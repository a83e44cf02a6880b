import type { Runtime, Timer } from './runtime.ts'

/** A time limit that stands still while something waits that does not count, such as a tool for an answer of a person. */
export class TimeLimit {
  readonly #runtime: Pick<Runtime, 'now' | 'setTimer'>
  readonly #onOver: () => void
  #left: number
  #startedAt = 0
  #timer: Timer | undefined
  /** How many things wait. */
  #pauses = 0

  constructor(runtime: Pick<Runtime, 'now' | 'setTimer'>, ms: number, onOver: () => void) {
    this.#runtime = runtime
    this.#left = ms
    this.#onOver = onOver
    this.#start()
  }

  /** Stands still until a call of `resume` for each call of this. */
  pause(): void {
    if (this.#pauses++ > 0) return
    this.#stop()
    this.#left = Math.max(0, this.#left - (this.#runtime.now() - this.#startedAt))
  }

  /** Goes on with the time that was left. */
  resume(): void {
    if (--this.#pauses === 0) this.#start()
  }

  /** Stops for ever. */
  clear(): void {
    this.#pauses = Number.POSITIVE_INFINITY
    this.#stop()
  }

  #stop(): void {
    this.#timer?.clear()
    this.#timer = undefined
  }

  #start(): void {
    this.#startedAt = this.#runtime.now()
    this.#timer = this.#runtime.setTimer(this.#left, this.#onOver)
  }
}

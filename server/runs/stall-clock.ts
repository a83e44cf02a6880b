import type { Runtime, Timer } from '../../protocol/runtime.ts'

/** Measures how long a run waits for its readers without a sign of any of them. */
export class StallClock {
  readonly #runtime: Runtime
  readonly #ms: number
  readonly #expired: () => void
  #timer: Timer | undefined

  /** @param ms after which `expired` is called; 0 for never. */
  constructor(runtime: Runtime, ms: number, expired: () => void) {
    this.#runtime = runtime
    this.#ms = ms
    this.#expired = expired
  }

  /** The run began or went on waiting, and a reader may have given a sign: the time starts again. */
  restart(): void {
    if (this.#ms === 0) return
    this.clear()
    this.#timer = this.#runtime.setTimer(this.#ms, () => {
      this.#timer = undefined
      this.#expired()
    })
  }

  clear(): void {
    this.#timer?.clear()
    this.#timer = undefined
  }
}

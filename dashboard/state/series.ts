/** Values over time, for a plot: the newest of a span of time. */
export class Series {
  readonly #spanMs: number
  #times: number[] = []
  #values: number[] = []

  /** @param spanMs how long a value is kept, in milliseconds. */
  constructor(spanMs: number) {
    this.#spanMs = spanMs
  }

  /** @param at in epoch milliseconds, not before the last one. */
  push(at: number, value: number): void {
    this.#times.push(at)
    this.#values.push(value)
    let old = 0
    while (this.#times[old]! < at - this.#spanMs) old++
    // Not for each value: the arrays would be moved each time.
    if (old < 32) return
    this.#times = this.#times.slice(old)
    this.#values = this.#values.slice(old)
  }

  get last(): number | undefined {
    return this.#values.at(-1)
  }

  /** The times, in epoch seconds as plots have them, and the values of the span before `now`. */
  points(now: number): [times: number[], values: number[]] {
    const from = this.#times.findIndex((at) => at >= now - this.#spanMs)
    if (from < 0) return [[], []]
    return [this.#times.slice(from).map((at) => at / 1_000), this.#values.slice(from)]
  }

  /** The value in the middle of those of the span before `now`. Undefined without values. */
  median(now: number): number | undefined {
    const [, values] = this.points(now)
    return values.sort((a, b) => a - b)[Math.floor(values.length / 2)]
  }
}

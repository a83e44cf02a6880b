/** A value for each index, written from the first on, that seldom changes: only where it changes is kept. */
export class RunLengthArray {
  readonly #starts: number[] = []
  readonly #values: number[] = []
  #latest: number | undefined

  /** From `index` on it is `value`. */
  push(index: number, value: number): void {
    if (this.#latest === value) return
    this.#latest = value
    this.#starts.push(index)
    this.#values.push(value)
  }

  at(index: number): number {
    return this.#values[this.#stretchOf(index)] ?? 0
  }

  /** Where the stretch that `index` is in ends, that is where the next begins; `Infinity` for the last. */
  end(index: number): number {
    return this.#starts[this.#stretchOf(index) + 1] ?? Number.POSITIVE_INFINITY
  }

  /** Forgets what was written from `index` on. */
  truncate(index: number): void {
    while ((this.#starts[this.#starts.length - 1] ?? -1) >= index) {
      this.#starts.pop()
      this.#values.pop()
    }
    this.#latest = this.#values[this.#values.length - 1]
  }

  #stretchOf(index: number): number {
    const starts = this.#starts
    let low = 0
    let high = starts.length - 1
    // Mostly it is the last.
    if ((starts[high] ?? 0) <= index) return high
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((starts[middle] as number) <= index) low = middle
      else high = middle - 1
    }
    return low
  }
}

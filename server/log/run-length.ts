/** An array of numbers, written in order of index, that seldom change. It stores only the indexes of the changes. */
export class RunLengthArray {
  readonly #starts: number[] = []
  readonly #values: number[] = []
  #latest: number | undefined

  /** Sets the value from `index` on. */
  push(index: number, value: number): void {
    if (this.#latest === value) return
    this.#latest = value
    this.#starts.push(index)
    this.#values.push(value)
  }

  at(index: number): number {
    return this.#values[this.#spanOf(index)] ?? 0
  }

  /** The index at which the value next changes after `index`; `Infinity` when it does not. */
  end(index: number): number {
    return this.#starts[this.#spanOf(index) + 1] ?? Number.POSITIVE_INFINITY
  }

  /** Removes all values from `index` on. */
  truncate(index: number): void {
    while ((this.#starts[this.#starts.length - 1] ?? -1) >= index) {
      this.#starts.pop()
      this.#values.pop()
    }
    this.#latest = this.#values[this.#values.length - 1]
  }

  #spanOf(index: number): number {
    const starts = this.#starts
    let low = 0
    let high = starts.length - 1
    // Most lookups are for the last span.
    if ((starts[high] ?? 0) <= index) return high
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((starts[middle] as number) <= index) low = middle
      else high = middle - 1
    }
    return low
  }
}

/**
 * What arrived and was not read, for clients that get each token as an event: the unbounded queue that turns events into
 * `for await`.
 */
export class Arrivals implements AsyncIterator<string, undefined> {
  readonly #leave: () => void
  #texts: string[] = []
  #at = 0
  #over = false
  #failure: Error | undefined
  #wake: (() => void) | undefined

  /** @param leave cancels the stream; called when its reader leaves before the end. */
  constructor(leave: () => void) {
    this.#leave = leave
  }

  push(text: string): void {
    this.#texts.push(text)
    this.#wake?.()
  }

  /** There are no more; or there are, and something went wrong. */
  end(failure?: Error): void {
    this.#over = true
    this.#failure = failure
    this.#wake?.()
  }

  async next(): Promise<IteratorResult<string, undefined>> {
    for (;;) {
      if (this.#at < this.#texts.length) {
        const value = this.#texts[this.#at++]!
        if (this.#at === this.#texts.length) {
          this.#texts = []
          this.#at = 0
        }
        return { value, done: false }
      }
      if (this.#failure) throw this.#failure
      if (this.#over) return { value: undefined, done: true }
      await new Promise<void>((resolve) => (this.#wake = resolve))
      this.#wake = undefined
    }
  }

  return(): Promise<IteratorResult<string, undefined>> {
    if (!this.#over) this.#leave()
    this.#over = true
    return Promise.resolve({ value: undefined, done: true })
  }
}

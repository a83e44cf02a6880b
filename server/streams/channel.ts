/**
 * A bounded queue with one reader: what is pushed is read in order, each once. It closes after what is queued was read;
 * a pushed item is refused, never dropped silently.
 */
export class Channel<T> implements AsyncIterableIterator<T> {
  readonly capacity: number
  /** Called when a reader begins to wait (`true`) and when it goes on (`false`). */
  onWaiting: ((waiting: boolean) => void) | undefined
  #items: T[] = []
  #readers: { resolve: (result: IteratorResult<T>) => void; reject: (reason: unknown) => void }[] = []
  #closed = false
  #reason: { error: unknown } | undefined

  constructor(capacity = 100) {
    this.capacity = capacity
  }

  get size(): number {
    return this.#items.length
  }

  /** Queues `item`. False when the channel is full or closed. */
  push(item: T): boolean {
    if (this.#closed) return false
    const reader = this.#readers.shift()
    if (reader) {
      if (this.#readers.length === 0) this.onWaiting?.(false)
      reader.resolve({ done: false, value: item })
      return true
    }
    if (this.#items.length >= this.capacity) return false
    this.#items.push(item)
    return true
  }

  /** The next item, if one waits. */
  take(): T | undefined {
    return this.#items.shift()
  }

  /** No more comes. Readers end after what is queued; with an `error` they throw it then. */
  close(error?: { error: unknown }): void {
    if (this.#closed) return
    this.#closed = true
    this.#reason = error
    const readers = this.#readers
    this.#readers = []
    if (readers.length > 0) this.onWaiting?.(false)
    for (const reader of readers) {
      if (error) reader.reject(error.error)
      else reader.resolve({ done: true, value: undefined })
    }
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items.shift()
    if (item !== undefined) return Promise.resolve({ done: false, value: item })
    if (this.#reason) return Promise.reject(this.#reason.error)
    if (this.#closed) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject })
      if (this.#readers.length === 1) this.onWaiting?.(true)
    })
  }

  /** Leaving a `for await` does not close the channel: a later loop reads on. */
  return(): Promise<IteratorResult<T>> {
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

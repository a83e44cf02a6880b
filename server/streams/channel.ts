/**
 * A bounded queue with one reader, which gets each item once, in order. A full or closed channel refuses items; it
 * never drops one silently. Items queued before `close` can still be read.
 */
export class Channel<T> implements AsyncIterableIterator<T> {
  /** The most items in the queue. */
  readonly capacity: number
  /** Called with `true` when a reader begins to wait, and with `false` when it continues. */
  onWaiting: ((waiting: boolean) => void) | undefined
  #items: T[] = []
  #readers: { resolve: (result: IteratorResult<T>) => void; reject: (reason: unknown) => void }[] = []
  #closed = false
  #reason: { error: unknown } | undefined

  /** @param capacity The most items in the queue. Default 100. */
  constructor(capacity = 100) {
    this.capacity = capacity
  }

  /** The number of queued items. */
  get size(): number {
    return this.#items.length
  }

  /** The queued items, which stay there. */
  get items(): readonly T[] {
    return this.#items
  }

  /** Queues `item`. Returns false when the channel is full or closed. */
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

  /** Removes and returns the next queued item, if there is one. */
  take(): T | undefined {
    return this.#items.shift()
  }

  /** Accepts no more items. After the last queued item, readers end, or throw `error` if it is given. */
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

  /** Leaving a `for await` loop does not close the channel: a later loop reads the items that follow. */
  return(): Promise<IteratorResult<T>> {
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

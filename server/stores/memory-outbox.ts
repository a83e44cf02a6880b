import type { DueNotice, Outbox, StoredNotice } from './run-store.ts'

/** What an outbox in memory takes from its process: a clock that nobody can set. */
export type OutboxClock = { now(): number }

type Entry = {
  readonly notice: StoredNotice
  readonly at: number
  /** Tells entries apart that are due at the same time. */
  readonly n: number
  due: number
  attempt: number
  isTaken: boolean
}

/** An outbox in the memory of this process. What is in it lives as long as it does. */
export class MemoryOutbox implements Outbox {
  readonly #clock: OutboxClock
  /** In the order in which they were added. */
  readonly #entries = new Map<string, Entry>()
  /** In the order in which they are due: what waits costs nothing where it is not taken. */
  readonly #queue: Entry[] = []
  #added = 0

  constructor(clock: OutboxClock) {
    this.#clock = clock
  }

  /** What a process has taken that is gone is due. */
  reopen(): void {
    const now = this.#clock.now()
    for (const entry of this.#entries.values()) if (entry.isTaken) this.#move(entry, now, false)
  }

  async add(notices: readonly StoredNotice[]): Promise<void> {
    const now = this.#clock.now()
    for (const notice of notices) {
      if (this.#entries.has(notice.id)) continue
      const entry = { notice, at: now, n: this.#added++, due: now, attempt: 0, isTaken: false }
      this.#entries.set(notice.id, entry)
      this.#enqueue(entry)
    }
  }

  async take(most: number, forMs: number): Promise<DueNotice[]> {
    const now = this.#clock.now()
    const count = Math.min(most, this.#placeOf({ due: now, n: Number.POSITIVE_INFINITY }))
    const due = this.#queue.slice(0, count)
    for (const entry of due) {
      entry.attempt++
      this.#move(entry, now + forMs, true)
    }
    return due.map(({ notice, attempt, at }) => ({ ...notice, attempt, ageMs: Math.max(0, now - at) }))
  }

  async remove(id: string): Promise<void> {
    const entry = this.#entries.get(id)
    if (entry) this.#drop(entry)
  }

  async putOff(id: string, ms: number): Promise<void> {
    const entry = this.#entries.get(id)
    if (entry) this.#move(entry, this.#clock.now() + ms, false)
  }

  async trim(most: number): Promise<{ removed: number; left: number }> {
    const removed = Math.max(0, this.#entries.size - most)
    for (const entry of this.#entries.values()) {
      if (this.#entries.size <= most) break
      this.#drop(entry)
    }
    return { removed, left: this.#entries.size }
  }

  #drop(entry: Entry): void {
    this.#entries.delete(entry.notice.id)
    this.#dequeue(entry)
  }

  #move(entry: Entry, due: number, isTaken: boolean): void {
    this.#dequeue(entry)
    entry.due = due
    entry.isTaken = isTaken
    this.#enqueue(entry)
  }

  #enqueue(entry: Entry): void {
    this.#queue.splice(this.#placeOf(entry), 0, entry)
  }

  #dequeue(entry: Entry): void {
    this.#queue.splice(this.#placeOf(entry), 1)
  }

  /** How many entries are due before this one. */
  #placeOf({ due, n }: Pick<Entry, 'due' | 'n'>): number {
    let [low, high] = [0, this.#queue.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const entry = this.#queue[middle]!
      if (entry.due < due || (entry.due === due && entry.n < n)) low = middle + 1
      else high = middle
    }
    return low
  }
}

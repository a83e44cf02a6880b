import type { DueNotice, Outbox, StoredNotice } from './run-store.ts'

/** What an outbox in memory takes from its process: a clock that nobody can set. */
export type OutboxClock = { now(): number }

type Entry = { readonly notice: StoredNotice; readonly at: number; due: number; attempt: number; isTaken: boolean }

/** An outbox in the memory of this process. What is in it lives as long as it does. */
export class MemoryOutbox implements Outbox {
  readonly #clock: OutboxClock
  /** In the order in which they were added. */
  readonly #entries = new Map<string, Entry>()

  constructor(clock: OutboxClock) {
    this.#clock = clock
  }

  /** What a process has taken that is gone is due. */
  reopen(): void {
    for (const entry of this.#entries.values()) if (entry.isTaken) this.#dueAt(entry, this.#clock.now())
  }

  async add(notices: readonly StoredNotice[]): Promise<void> {
    const now = this.#clock.now()
    for (const notice of notices)
      if (!this.#entries.has(notice.id))
        this.#entries.set(notice.id, { notice, at: now, due: now, attempt: 0, isTaken: false })
  }

  async take(most: number, forMs: number): Promise<DueNotice[]> {
    const now = this.#clock.now()
    const due = [...this.#entries.values()].filter((entry) => entry.due <= now).sort((a, b) => a.due - b.due)
    return due.slice(0, most).map((entry) => {
      entry.attempt++
      entry.due = now + forMs
      entry.isTaken = true
      return { ...entry.notice, attempt: entry.attempt, ageMs: Math.max(0, now - entry.at) }
    })
  }

  async remove(id: string): Promise<void> {
    this.#entries.delete(id)
  }

  async putOff(id: string, ms: number): Promise<void> {
    const entry = this.#entries.get(id)
    if (entry) this.#dueAt(entry, this.#clock.now() + ms)
  }

  async trim(most: number): Promise<{ removed: number; left: number }> {
    const removed = Math.max(0, this.#entries.size - most)
    for (const id of [...this.#entries.keys()].slice(0, removed)) this.#entries.delete(id)
    return { removed, left: this.#entries.size }
  }

  #dueAt(entry: Entry, due: number): void {
    entry.due = due
    entry.isTaken = false
  }
}

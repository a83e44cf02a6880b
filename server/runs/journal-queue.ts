import type { Runtime, Timer } from '../../protocol/runtime.ts'

/** A journal, as the queue sees it. */
export interface QueuedJournal {
  /** Sends to the store what it has. It must not throw. */
  flush(): void
}

/** Says when the journals of a node send: all of one moment together, so that a store can write them at once. */
export class JournalQueue {
  readonly #runtime: Runtime
  readonly #flushMs: number
  #soon: QueuedJournal[] = []
  #later: QueuedJournal[] = []
  #timer: Timer | undefined

  /** @param flushMs how long text may wait for more, in milliseconds. */
  constructor(runtime: Runtime, flushMs: number) {
    this.#runtime = runtime
    this.#flushMs = flushMs
  }

  /** Lets a journal send at the end of this loop turn. */
  soon(journal: QueuedJournal): void {
    if (this.#soon.push(journal) > 1) return
    this.#runtime.nextTurn(() => {
      const due = this.#soon
      this.#soon = []
      for (const journal of due) journal.flush()
    })
  }

  /** Lets a journal send at the latest after `flushMs`, together with all others that wait. */
  later(journal: QueuedJournal): void {
    this.#later.push(journal)
    this.#timer ??= this.#runtime.setTimer(this.#flushMs, () => {
      this.#timer = undefined
      const due = this.#later
      this.#later = []
      for (const journal of due) journal.flush()
    })
  }

  /** Nothing more is to be sent. */
  close(): void {
    this.#timer?.clear()
  }
}

import type { Runtime, Timer } from '../../protocol/runtime.ts'

/** The longest that text waits because the store is busy, in milliseconds. */
const MAX_FLUSH_MS = 100

/** A journal, as the queue sees it. */
export interface QueuedJournal {
  /**
   * Sends to the store what it has. It must not throw.
   * @returns what settles with the answer of the store. Undefined: it had nothing to send.
   */
  flush(): Promise<unknown> | undefined
}

/** Journals that send together. */
type Batch = { readonly journals: QueuedJournal[]; readonly until: number }

/**
 * Says when the journals of a node send: all of one moment together, so that a store can write them at once. Text waits
 * the longer the more there is to write: an append costs a store about the same with one token as with ten.
 */
export class JournalQueue {
  readonly #runtime: Runtime
  readonly #flushMs: number
  readonly #rest: number
  #soon: QueuedJournal[] = []
  readonly #momentMs: number
  #later: Batch | undefined
  readonly #timers = new Set<Timer>()
  /** How long the store took for the text of the last time. */
  #tookMs = 0

  /**
   * @param flushMs how long text waits for more, in milliseconds, while the store has little to do.
   * @param rest how often as long as the store took for the last text the next one waits, at least. At most 100 ms.
   * @param momentMs how far apart text may come that is sent together. Default: whatever comes while the first waits, which
   * costs least. Where somebody waits for it, a moment is better: of many at once, each waits until all are encoded,
   * written and read.
   */
  constructor(runtime: Runtime, flushMs: number, rest: number, momentMs: number = Number.POSITIVE_INFINITY) {
    this.#runtime = runtime
    this.#flushMs = flushMs
    this.#rest = rest
    this.#momentMs = momentMs
  }

  /** Lets a journal send at the end of this loop turn. */
  soon(journal: QueuedJournal): void {
    if (this.#soon.push(journal) > 1) return
    this.#runtime.nextTurn(() => {
      const due = this.#soon
      this.#soon = []
      for (const journal of due) void journal.flush()
    })
  }

  /** Lets a journal send soon, together with others that wait. */
  later(journal: QueuedJournal): void {
    const now = this.#runtime.now()
    if (this.#later && now < this.#later.until) return void this.#later.journals.push(journal)
    const batch = { journals: [journal], until: now + this.#momentMs }
    this.#later = batch
    const ms = Math.max(this.#flushMs, Math.min(MAX_FLUSH_MS, this.#rest * this.#tookMs))
    const timer = this.#runtime.setTimer(ms, () => {
      this.#timers.delete(timer)
      if (this.#later === batch) this.#later = undefined
      this.#send(batch)
    })
    this.#timers.add(timer)
  }

  #send({ journals }: Batch): void {
    // They are answered in the order in which they are sent, so one answer tells of all.
    let last: Promise<unknown> | undefined
    for (const journal of journals) last = journal.flush() ?? last
    const sentAt = this.#runtime.now()
    const answered = (): void => {
      this.#tookMs = this.#runtime.now() - sentAt
    }
    last?.then(answered, answered)
  }

  /** Nothing more is to be sent. */
  close(): void {
    for (const timer of this.#timers) timer.clear()
    this.#timers.clear()
  }
}

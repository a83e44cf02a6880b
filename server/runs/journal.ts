import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { Log } from '../log/log.ts'
import type { Pacer } from '../log/readers.ts'
import type { Append, AppendRefusal, Lease, StoredEnd, StoredInput, StoredNotice } from '../stores/run-store.ts'
import type { JournalQueue } from './journal-queue.ts'

/** The most bytes that may be logged and not yet stored. Beyond them the actor waits for the store. */
const MAX_UNSTORED_BYTES = 1_048_576
/** An item takes no more than a credit unit and this. */
const HEADER_BYTES = 5
/** How long after a failure the store is asked again, in milliseconds: at first, and at most. */
const RETRY_MS = 50
const MAX_RETRY_MS = 2_000

/**
 * When readers are sent an item. `eager`: at once; the store follows, and what it has not got when the process dies is
 * lost. `logged`: once it is stored.
 */
export type Durability = 'eager' | 'logged'

/** What a journal takes from its run and its node. */
export type JournalCallbacks = {
  readonly runtime: Runtime
  readonly queue: JournalQueue
  readonly durability: Durability
  readonly maxBatchBytes: number
  readonly creditUnit: number
  /** What the run has cost so far, packed. */
  usage(): Uint8Array | undefined
  /** More is stored. Readers may be sent more, and the actor may go on. */
  stored(): void
  /** It is stored that the run waits. */
  parked(): void
  /**
   * What the run goes on from in another process takes `bytes` from now on, in place of `before`. Returns false when its
   * principal has no room for that.
   */
  parks(bytes: number, before: number): boolean
  /** The right to append is there. */
  held(lease: Lease): void
  /** Somebody else has the run: nothing of it is stored any more. */
  lost(): void
  /** The store failed, and is asked again. */
  failed(error: unknown): void
  /** The store has taken something. */
  succeeded(): void
}

/** What the next append has besides items. */
type Extras = Pick<Append, 'end' | 'parked'> & { inputs?: StoredInput[]; notices?: readonly StoredNotice[] }

/** Those who wait for an append, and hear whether it was stored. */
type Waiting = ((isStored: boolean) => void)[]

/**
 * Sends the log of one run to the store, one append after the other, and paces the actor: no more than 1 MiB is logged
 * and not stored. A failed append is repeated until the store takes it.
 */
export class Journal implements Pacer {
  readonly #run: JournalCallbacks
  readonly #log: Log
  #lease: Lease | undefined
  /** The last item that is stored, and the bytes of all up to it. */
  #stored: number
  #storedBytes: number
  #isQueued = false
  #isSending = false
  /** The moment for the next append came while this one was under way. */
  #isDue = false
  #hasBegun = false
  #isClosed = false
  /** The store has the end that this process gave. */
  #hasEnded = false
  #extras: Extras | undefined
  /** Wait until the extras are stored, or never will be. They are told which. */
  #waiting: Waiting = []
  /** The same, of the append that is under way. */
  #sending: Waiting = []
  #retryMs = RETRY_MS
  #retry: Timer | undefined
  /** The state that was stored last, or is about to be, has the run waiting. */
  #isParked: boolean
  /** What it takes of the room of its principal for that. */
  #parkedBytes = 0
  /** Resolves when it is stored that the run goes on. */
  #goingOn: Promise<boolean> | undefined
  /** Resolves when all inputs are stored that came while the run waited. */
  #keeping: Promise<boolean> | undefined
  /** An event was logged since the last append: it does not wait, and the run may have cost more. */
  #hasEvents = false

  /**
   * @param lease The right to append, once the store has given it. It never rejects.
   * @param parkedBytes The bytes with which the store has it waiting: another process has left it so. Undefined: none has.
   */
  constructor(
    run: JournalCallbacks,
    log: Log,
    lease: Lease | Promise<Lease | undefined>,
    parkedBytes: number | undefined,
  ) {
    this.#isParked = parkedBytes !== undefined
    this.#run = run
    // It is stored already, whatever room there is.
    if (parkedBytes !== undefined) this.#takeRoom(parkedBytes)
    this.#log = log
    this.#stored = log.written
    this.#storedBytes = log.bytesThrough(log.written)
    if (run.durability === 'logged') log.showThrough(log.last)
    if (lease instanceof Promise) void lease.then((given) => this.#begin(given))
    else {
      this.#lease = lease
      run.held(lease)
    }
  }

  /** After a restart, the run would wait again as it was stored. */
  get isParked(): boolean {
    return this.#isParked
  }

  /** It is stored that the run waits, with all that came before. */
  get isSafelyParked(): boolean {
    return this.#isParked && !this.#isSending && !this.#extras && this.#stored === this.#log.written
  }

  get safeThrough(): number {
    return this.#isClosed ? this.#log.written : this.#stored
  }

  room(): number {
    if (this.#isClosed) return Number.POSITIVE_INFINITY
    // Another process may have the run: what this one said now would be void.
    if (this.#lease?.shared?.isDoubtful) return 0
    const unstored = this.#log.bytesThrough(this.#log.written) - this.#storedBytes
    return Math.max(0, Math.ceil((MAX_UNSTORED_BYTES - unstored) / (this.#run.creditUnit + HEADER_BYTES)))
  }

  /** Something was logged. @param urgent whether it is an event, which does not wait for more. */
  dirty(urgent: boolean): void {
    if (urgent) this.#hasEvents = true
    if (this.#isClosed || (this.#isQueued && !urgent)) return
    if (urgent || !this.#hasBegun) this.#run.queue.soon(this)
    else this.#run.queue.later(this)
    this.#hasBegun = this.#isQueued = true
  }

  /** Stores the end and its notices, behind all items. Resolves once they are stored, or never will be. */
  end(end: StoredEnd, notices: readonly StoredNotice[] = []): Promise<unknown> {
    return this.#store({ end, ...this.#with(notices) })
  }

  /** Stores notices, with all items that came before. Resolves once they are stored, or never will be. */
  notify(notices: readonly StoredNotice[]): Promise<unknown> {
    return this.#store(this.#with(notices))
  }

  /** These notices, and those that wait already. */
  #with(notices: readonly StoredNotice[]): Extras {
    return notices.length === 0 ? {} : { notices: [...(this.#extras?.notices ?? []), ...notices] }
  }

  /** The run only waits: stores from what it goes on in another process, if there is room for that. */
  park(state: Uint8Array): Promise<unknown> {
    if (this.#isClosed || !this.#takeRoom(state.length)) return Promise.resolve()
    this.#isParked = true
    // The state has the inputs that came before it.
    if (this.#extras?.inputs) this.#extras = { ...this.#extras, inputs: [] }
    return this.#store({ parked: state })
  }

  /**
   * The run goes on. Until this resolves, a restart would return to the wait: nothing must be done before that. Resolves
   * with false if another process goes on with it.
   */
  goOn(): Promise<boolean> | undefined {
    if (!this.#isParked) return this.#goingOn
    this.#isParked = false
    this.#takeRoom(0)
    const stored = this.#keep({ parked: null, inputs: [] })
    const goingOn = stored.then((isStored) => {
      if (this.#goingOn === goingOn) this.#goingOn = undefined
      return isStored
    })
    this.#goingOn = goingOn
    return goingOn
  }

  #takeRoom(bytes: number): boolean {
    if (!this.#run.parks(bytes, this.#parkedBytes)) return false
    this.#parkedBytes = bytes
    return true
  }

  /** Stores an input of a run that waits. */
  keep(input: StoredInput): void {
    void this.#keep({ inputs: [...(this.#extras?.inputs ?? []), input] })
  }

  /**
   * Resolves once no other process can go on with the run without the inputs that it has taken here. Resolves with false
   * if another one does, or will: what was taken is void. Undefined: that is so already.
   */
  get keeping(): Promise<boolean> | undefined {
    return this.#keeping
  }

  #keep(extras: Extras): Promise<boolean> {
    const keeping = this.#store(extras).then((isStored) => {
      // What is void stays so: an input that is sent again must not be told that it was taken.
      if (isStored && this.#keeping === keeping) this.#keeping = undefined
      return isStored
    })
    this.#keeping = keeping
    return keeping
  }

  #store(extras: Extras): Promise<boolean> {
    if (this.#isClosed) return Promise.resolve(this.#hasEnded)
    this.#extras = { ...this.#extras, ...extras }
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      this.#run.queue.soon(this)
    })
  }

  flush(): Promise<unknown> | undefined {
    this.#isQueued = false
    this.#isDue = this.#isSending
    if (this.#isSending || this.#isClosed || !this.#lease || this.#retry) return undefined
    const first = this.#stored + 1
    const { written } = this.#log
    const batch = first <= written ? this.#log.batch(first, written, this.#run.maxBatchBytes) : undefined
    // The end, and what a waiting run goes on from, are behind all items.
    const isWhole = (batch?.last ?? this.#stored) === written
    const extras = isWhole ? this.#extras : undefined
    if (!batch && !extras) return undefined
    if (extras) {
      this.#extras = undefined
      this.#sending = this.#waiting.splice(0)
    }
    this.#isSending = true
    const usage = this.#hasEvents ? this.#run.usage() : undefined
    this.#hasEvents = false
    return this.#send({ batch, ...extras, ...(usage && { usage }) })
  }

  #send(what: Append): Promise<unknown> | undefined {
    return this.#lease?.append(what).then(
      (refusal) => this.#sent(what, refusal),
      (error: unknown) => {
        this.#run.failed(error)
        this.#again(() => void this.#send(what))
      },
    )
  }

  #sent({ batch, end }: Append, refusal: AppendRefusal | undefined): void {
    this.#isSending = false
    const waiting = this.#sending.splice(0)
    this.#retryMs = RETRY_MS
    this.#run.succeeded()
    if (refusal !== undefined) {
      // The store has lost what it had. No other process has the run then, and one of them must be able to end it.
      if (refusal === 'gap' && this.#lease?.shared) this.#lease.release().catch(() => {})
      this.lose()
    } else if (batch) {
      this.#stored = batch.last
      this.#storedBytes = this.#log.bytesThrough(batch.last)
      if (this.#run.durability === 'logged') this.#log.showThrough(batch.last)
    }
    if (end) {
      this.#hasEnded = refusal === undefined
      this.close()
    }
    for (const done of waiting) done(refusal === undefined)
    if (refusal === undefined && batch) this.#run.stored()
    if (this.isSafelyParked) this.#run.parked()
    if (this.#extras || this.#hasEvents || this.#isDue || this.#isFull) void this.flush()
    else if (this.#stored < this.#log.written) this.dirty(false)
  }

  /** There is more than one append may have. */
  get #isFull(): boolean {
    const unstored = this.#log.bytesThrough(this.#log.written) - this.#storedBytes
    return unstored >= this.#run.maxBatchBytes
  }

  #again(call: () => void): void {
    if (this.#isClosed) return
    this.#retry = this.#run.runtime.setTimer(this.#retryMs, () => {
      this.#retry = undefined
      call()
    })
    this.#retryMs = Math.min(MAX_RETRY_MS, this.#retryMs * 2)
  }

  #begin(lease: Lease | undefined): void {
    if (this.#isClosed) return
    this.#lease = lease
    if (!lease) return this.lose()
    this.#run.held(lease)
    void this.flush()
  }

  /** Somebody else has the run. */
  lose(): void {
    if (this.#isClosed) return
    this.#run.lost()
    this.close()
  }

  /** The process ends, and the run is parked: another process may take it over now. */
  leave(): void {
    this.close()
    // One that fails is over when the lease is.
    if (this.#lease?.shared) this.#lease.release().catch(() => {})
  }

  /** Nothing more is stored. Readers see everything, and nobody waits. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#takeRoom(0)
    this.#retry?.clear()
    this.#log.showThrough()
    for (const done of [...this.#sending.splice(0), ...this.#waiting.splice(0)]) done(this.#hasEnded)
  }
}

import { setMaxListeners } from 'node:events'
import { MillraceError } from '../../protocol/errors.ts'
import type { WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { CancelCause } from '../../protocol/receipt.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { RunInput } from '../actors/actor.ts'
import type { Principal } from '../actors/principal.ts'
import { Log } from '../log/log.ts'
import type { LoggedEnd } from '../log/logged-end.ts'
import { type Reader, Readers } from '../log/readers.ts'
import type { AskRefusal, Batch, RunStore, SharedRuns, StoredRun } from '../stores/run-store.ts'
import { packAsk, type RunAnswer, type RunAsk, unpackAnswer } from './ask.ts'
import { Attendance } from './attendance.ts'
import { type InputAnswer, type InputSender, OVER } from './input-answer.ts'
import type { ReadableRun } from './readable-run.ts'
import { RemoteRequests } from './remote-requests.ts'
import type { StopAsk, StopAsks } from './stop-asks.ts'

/** The bytes that are read from the store at once. */
const PAGE_BYTES = 262_144
/** How long a reader may take to join, in milliseconds: its client may be gone. */
const JOIN_MS = 10_000
/** How long a reader waits for an item that it was sent before it was stored, in milliseconds. */
const ITEM_MS = 5_000
/** How long after a failure the store is read again, in milliseconds. */
const RETRY_MS = 500

/** What a reader is told that joins too late. */
const NOT_FOLLOWED = {
  code: 'store_unavailable',
  message: 'this run is not followed here any more; attach to it again',
} as const

/** What a remote run takes from its node. */
export type RemoteRunCallbacks = {
  readonly store: RunStore
  readonly shared: SharedRuns
  readonly runtime: Runtime
  readonly limits: Limits
  readonly stops: StopAsks
  /** It may have no holder any more. */
  changed(id: string): void
  /** The store failed, and is asked again. */
  failed(error: unknown): void
  /** It has ended, or nobody reads it here any more: no further reader begins with it. */
  closed(run: RemoteRun): void
}

/**
 * A run that another process holds, for its readers in this one. Its items come from the store: what is heard of them is
 * taken if it follows what is here, and read otherwise. What readers ask goes to the holder.
 */
export class RemoteRun implements ReadableRun {
  readonly id: string
  readonly actorName: string
  readonly principal: Principal
  readonly log: Log
  readonly #callbacks: RemoteRunCallbacks
  readonly #readers: Readers
  readonly #attendance: Attendance
  /** Aborts when nobody reads it any more. */
  readonly #closed = new AbortController()
  #end: LoggedEnd | undefined
  readonly #requests: RemoteRequests
  #opening: Promise<this> | undefined
  #stop = (): void => {}
  #isReading = false
  #readsAgain = false
  /** From this item on, what readers have is void, and they have still to be told. */
  #voidFrom = Number.POSITIVE_INFINITY
  /** Everything that is stored is here. */
  #isAtTail = false
  /** Reads again after a failure. */
  #retry: Timer | undefined
  /** Whether workers of a pool execute it, and whether it waits for one of them. */
  readonly #isPooled: boolean
  #waitsForWorker: boolean
  /** It has waited too long then. */
  #waitsUntil: Timer | undefined
  /** Readers that cannot begin yet, and those that can and have still to join. */
  #coming = 0
  readonly #holds = new Set<Timer>()
  /** Why no reader gets on with it, once it is closed and has no end. */
  #failure: Pick<MillraceError, 'code' | 'message'> = NOT_FOLLOWED
  /** Inputs that its holder has not answered: the end, which one of them may bring about, comes behind the answers. */
  readonly #inputs = new Set<Promise<InputAnswer>>()
  /** Wait for an item that the store has still to get. */
  #waiting: (() => void)[] = []

  /** @param from The first item that it needs. */
  constructor(stored: StoredRun, principal: Principal, from: number, callbacks: RemoteRunCallbacks) {
    const { limits, shared, runtime } = callbacks
    this.#callbacks = callbacks
    // Each ask that waits for its answer listens.
    setMaxListeners(0, this.#closed.signal)
    this.id = stored.id
    this.actorName = stored.facts.actor
    this.principal = principal
    this.#isPooled = stored.pool !== undefined
    this.#waitsForWorker = stored.pool?.waitMs !== undefined
    this.log = Log.behind(limits, Math.min(Math.max(from, stored.first), stored.next), stored.lives)
    this.#requests = new RemoteRequests({
      ...{ runtime, limits, log: this.log, closed: this.#closed.signal },
      ask: async (signal) => {
        const said = await this.#ask({ type: 'pending' }, signal)
        return typeof said === 'string' ? undefined : said
      },
    })
    this.#readers = new Readers(this.log, limits, 'continue')
    this.#attendance = new Attendance(
      { runtime, limits, readers: this.#readers, log: this.log },
      shared.leaseMs,
      (all) => shared.attend(stored.id, all),
    )
  }

  /**
   * Resolves when a reader behind item `after` can begin. It is followed until that reader joins, or does not in time.
   * @throws MillraceError `store_unavailable`
   */
  async ready(after: number | null): Promise<this> {
    this.#coming++
    try {
      await this.opened
      await this.#has(after)
      // One that waits for a worker has asked nothing, and nobody would say so.
      if (!this.#end && !this.#waitsForWorker) await this.#requests.refresh()
      return this
    } finally {
      this.#coming--
      this.#holdOpen()
    }
  }

  /** Resolves when what is here of its log is known. @throws MillraceError `store_unavailable` */
  get opened(): Promise<unknown> {
    this.#opening ??= this.#open()
    return this.#opening
  }

  /** Is there for a reader that is about to join. */
  #holdOpen(): void {
    if (this.#isClosed) return
    const hold = this.#callbacks.runtime.setTimer(JOIN_MS, () => {
      this.#holds.delete(hold)
      this.#closeIfAlone()
    })
    this.#holds.add(hold)
  }

  /** One of those that were about to join has done so. */
  #endHold(): void {
    const [oldest] = this.#holds
    if (!oldest) return
    oldest.clear()
    this.#holds.delete(oldest)
  }

  async #open(): Promise<this> {
    try {
      const stop = await this.#callbacks.shared.follow(this.id, (batch) => this.#heard(batch))
      if (this.#isClosed || this.#end) stop()
      else this.#stop = stop
      await this.#readPage()
      return this
    } catch (error) {
      this.#close()
      throw error
    }
  }

  /**
   * Resolves when item `after` is stored, or never will be. It was sent to the reader a moment before it was stored.
   */
  async #has(after: number | null): Promise<void> {
    const { gen } = this.log
    const { runtime } = this.#callbacks
    const giveUpAt = runtime.now() + ITEM_MS
    const timer = runtime.setTimer(ITEM_MS, () => this.#wakeWaiting())
    const isMissing = (): boolean => after !== null && after >= this.log.next && this.log.gen === gen
    // It may be stored, and the hint of it lost.
    if (isMissing()) this.#read()
    while (isMissing() && !this.#end && !this.#isClosed && runtime.now() < giveUpAt)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    timer.clear()
  }

  /**
   * Whether a reader behind item `after` finds what it needs here, now or once it is stored. What is stored already, and
   * not here, comes only as fast as the readers get on that are.
   */
  serves(after: number | null): boolean {
    if (this.#isClosed || this.#end) return false
    if (after === null || after >= this.log.next) return this.#isAtTail
    return after + 1 >= this.log.first
  }

  get #isClosed(): boolean {
    return this.#closed.signal.aborted
  }

  get end(): LoggedEnd | undefined {
    return this.#end
  }

  // --- readers

  join(reader: Reader): void {
    const before = this.#readers.size
    this.#readers.join(reader)
    if (this.#readers.size > before) this.#endHold()
    this.#attendance.changed()
    // Nothing follows, and the reader must not wait for it.
    if (this.#isClosed && !this.#end) this.#callbacks.runtime.nextTurn(() => this.#dismissReaders())
  }

  rest(reader: Reader): void {
    this.#readers.rest(reader)
    if (!this.#isAtTail) this.#read()
  }

  leave(reader: Reader): void {
    if (!this.#readers.leave(reader)) return
    this.#attendance.changed()
    this.#closeIfAlone()
  }

  reconsider(moved: Reader | undefined): void {
    if (moved?.policy === 'pace') this.#attendance.moved()
  }

  #closeIfAlone(): void {
    if (this.#readers.size === 0 && this.#coming === 0 && this.#holds.size === 0) this.#close()
  }

  #close(): void {
    if (this.#isClosed) return
    this.#retry?.clear()
    this.#waitsUntil?.clear()
    for (const hold of this.#holds) hold.clear()
    this.#holds.clear()
    this.#closed.abort()
    this.#requests.close()
    this.#attendance.close()
    this.#stop()
    this.#wakeWaiting()
    this.#callbacks.closed(this)
  }

  // --- what is asked of it

  pendingAt(seq: number): WireMap[] {
    return this.#requests.at(seq)
  }

  cancel(why: CancelCause): void {
    if (this.#end) return
    // Its end is the answer, also where it was asked of nobody.
    void this.#stopTarget({ type: 'cancel', why })
  }

  cancelCall(id: string, why: CancelCause): Promise<boolean> {
    return this.#stopTarget({ type: 'call', id, why })
  }

  cancelAgent(id: string, why: CancelCause): Promise<boolean> {
    return this.#stopTarget({ type: 'agent', id, why })
  }

  /** Resolves with whether it was going on, as far as anybody knows. */
  async #stopTarget(ask: StopAsk): Promise<boolean> {
    try {
      return await this.#callbacks.stops.ask(this.id, ask, this.#isPooled)
    } catch (error) {
      if (!this.#callbacks.stops.isClosed) this.#callbacks.failed(error)
      return true
    }
  }

  async input(mid: string, input: RunInput, bytes: number, from?: InputSender): Promise<InputAnswer> {
    const answered = this.#input(mid, input, bytes, from)
    this.#inputs.add(answered)
    const answer = await answered
    this.#inputs.delete(answered)
    return answer
  }

  async #input(mid: string, input: RunInput, bytes: number, from: InputSender | undefined): Promise<InputAnswer> {
    try {
      const answer = await this.#ask({ type: 'input', mid, input, bytes, from })
      this.#requests.moved()
      if (typeof answer !== 'string') return answer
      return answer === 'busy' ? { status: 'busy', note: 'too much is asked of this run; try again later' } : OVER
    } catch {
      return { status: 'busy', note: 'the store of this run cannot be reached now; try again later' }
    }
  }

  async #ask<Of extends RunAsk & { readonly type: keyof RunAnswer }>(
    ask: Of,
    signal: AbortSignal = this.#closed.signal,
  ): Promise<RunAnswer[Of['type']] | AskRefusal> {
    const answer = await this.#callbacks.shared.ask(this.id, packAsk(ask), signal)
    return typeof answer === 'string' ? answer : (unpackAnswer(answer) as RunAnswer[Of['type']])
  }

  // --- its items

  #heard(batch: Batch | undefined): void {
    if (this.#isClosed || this.#end) return
    if (!batch) return this.#read()
    const isOfNewLife = batch.gen > this.log.gen
    if (!this.#isAtTail || (batch.last < this.log.next && !isOfNewLife)) return
    if (batch.first !== this.log.next || isOfNewLife) return this.#read()
    this.#add([batch])
  }

  #add(batches: readonly Batch[]): void {
    for (const batch of batches) {
      // What was between is no longer stored.
      if (batch.first > this.log.next) this.log.clear()
      this.log.add(batch, (seq, body) => this.#requests.logged(seq, body))
    }
    this.#requests.moved()
    if (this.log.full) this.log.trim(this.#readers.keepFrom())
    this.#wakeWaiting()
    this.#tellReaders()
  }

  /** There is something new for them. A new life is told of once the log says what is open where it begins. */
  #tellReaders(): void {
    const first = this.#voidFrom
    this.#voidFrom = Number.POSITIVE_INFINITY
    if (first === Number.POSITIVE_INFINITY) this.#readers.wakeAll()
    else this.#readers.newLife(first)
  }

  #wakeWaiting(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** Reads what is stored behind what is here, page by page, as its readers get on. */
  #read(): void {
    this.#readsAgain = true
    if (this.#isReading || this.#isClosed) return
    this.#isReading = true
    void this.#readAll()
  }

  async #readAll(): Promise<void> {
    try {
      while (this.#readsAgain && !this.#isClosed && !this.#end) {
        this.#readsAgain = false
        await this.#readPage()
      }
    } catch (error) {
      if (MillraceError.is(error, 'store_unavailable') && error.retryable) {
        this.#callbacks.failed(error)
        this.#retry?.clear()
        this.#retry = this.#callbacks.runtime.setTimer(RETRY_MS, () => this.#read())
      } else this.#dismiss(error)
    } finally {
      // In this turn: what asks for another page in the next must not find it reading.
      this.#isReading = false
    }
  }

  async #readPage(): Promise<void> {
    const { store } = this.#callbacks
    const { batches, more } = await store.read(this.id, this.log.next, PAGE_BYTES)
    if (this.#isClosed) return
    // Only the life of an item says what is void before it, and the batch does not say where that life began.
    const isOfNewLife = batches.some(({ gen }) => gen > this.log.gen)
    // A page may be read while the same items are heard.
    this.#isAtTail = !more && !isOfNewLife
    if (batches.length > 0 && !isOfNewLife) this.#add(batches)
    if (more && !isOfNewLife) return
    const stored = await store.find(this.id)
    if (this.#isClosed || this.#end) return
    if (!stored) {
      this.#dismiss(new MillraceError('store_unavailable', 'the store has lost this run; start again'))
      return
    }
    const first = this.log.enterLives(stored.lives)
    if (first !== undefined) this.#voidFrom = Math.min(this.#voidFrom, first)
    if (stored.next > this.log.next) {
      this.#read()
      return
    }
    if (this.#voidFrom < Number.POSITIVE_INFINITY) this.#tellReaders()
    if (stored.end) {
      await Promise.all(this.#inputs)
      if (!this.#isClosed) this.#endWith(stored.end)
    } else this.#goesOn(stored)
    this.#wakeWaiting()
  }

  /** It has no end. Somebody may have to take it over, now or when it has waited too long for a worker. */
  #goesOn({ pool }: StoredRun): void {
    this.#callbacks.changed(this.id)
    const waitMs = pool?.waitMs
    this.#waitsForWorker = waitMs !== undefined
    this.#waitsUntil?.clear()
    if (waitMs !== undefined)
      this.#waitsUntil = this.#callbacks.runtime.setTimer(waitMs, () => this.#callbacks.changed(this.id))
  }

  #endWith(end: LoggedEnd): void {
    this.#end = end
    this.#retry?.clear()
    this.#waitsUntil?.clear()
    this.#requests.close()
    this.#attendance.close()
    this.#stop()
    this.#readers.wakeAll()
    // Further readers find its end in the store.
    this.#callbacks.closed(this)
  }

  #dismiss(error: unknown): void {
    this.#failure = MillraceError.from(error, 'store_unavailable', 'the log of this run cannot be read')
    this.#callbacks.failed(error)
    this.#dismissReaders()
    this.#close()
  }

  #dismissReaders(): void {
    const { code, message } = this.#failure
    this.#readers.dismiss(code, message)
  }
}

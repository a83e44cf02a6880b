import type { OnDetach, Policy } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Cursor } from './cursor.ts'
import type { Log } from './log.ts'

/** What a reader is told that cannot be sent to where its run goes on. */
export const GOES_ON_ELSEWHERE = 'another server has this run, and goes on with it'

/** A reader of a run: a client's subscription, or a reader inside this process. */
export interface Reader {
  readonly policy: Policy
  /** Whether it belongs to the run's principal. */
  readonly own: boolean
  /** Whether the client behind it may answer the run and send it inputs. Default: if the reader is `own`. */
  readonly answers?: boolean
  /** The client instance behind it, if it is one of a connection. It is a secret of that client. */
  readonly client?: string | undefined
  readonly cursor: Cursor
  /** Whether its rate is 0. */
  readonly paused: boolean
  /**
   * How many items its rate lets through now; Infinity without a rate. When it is none, the reader makes its run
   * reconsider as soon as it is one.
   */
  allowance(): number
  /** Items per second that the reader asked for, if any. Inspectors show it. */
  readonly perSec?: number | undefined
  /** Whether the reader has every item and waits to be woken. Only `Readers` sets it. */
  resting: boolean
  /** Reports new items; `urgent` ones should not wait for a batch. It must not throw, and must not read at once. */
  wake(urgent: boolean): void
  /** It rests, and may be given the next text in the moment in which that is logged. Default: it is woken for it. */
  readonly isReady?: boolean
  /** Takes the text that was just logged; it was ready before. Returns false when it must be woken after all. */
  takeText?(): boolean
  /** Ends this reader before the end of the run: the run is being forgotten. */
  dismiss(code: string, message: string): void
  /**
   * Another process goes on with the run: its client will come back there. Default: `dismiss`.
   * @param hasMoved whether this process goes on, so that the client has still to be told to come back.
   */
  drop?(hasMoved: boolean): void
}

/** Something other than a reader for which the actor waits, and for which the log keeps items: a store, for example. */
export interface Pacer {
  /** At least this many texts can be logged before the caller must ask again; 0: the actor must wait. */
  room(): number
  /** The last item that the log need not keep for it. */
  readonly safeThrough: number
}

/** What most runs have of them: those that are not stored have none. */
const NONE: readonly Pacer[] = []

/** A pacing reader that has left: its position, and what its rate had let through. */
type AbsentPacer = { readonly cursor: Cursor; readonly paused: boolean; readonly allowance: number }

/** The readers of one run. They decide when its actor must wait, and which items its log must keep. */
export class Readers {
  // Fields that every item touches stand together, as in `Producer`.
  /** The only reader, if there is exactly one. */
  #only: Reader | undefined
  /** The number of resting readers. The next text wakes each of them, once. */
  #resting = 0
  /** The readers that the actor waits for. */
  readonly #pacing = new Set<Reader>()
  /** Those of them that left no room when all were last asked, if there were any. */
  #holding: Set<Reader> | undefined
  readonly #log: Log
  readonly #limits: Limits
  #onDetach: OnDetach
  readonly #readers = new Set<Reader>()
  /** The pacing reader that left last, as it was then. */
  #lastPacer: AbsentPacer | undefined
  #own = 0
  #answering = 0
  #pacers: readonly Pacer[] = NONE

  constructor(log: Log, limits: Limits, onDetach: OnDetach) {
    this.#log = log
    this.#limits = limits
    this.#onDetach = onDetach
  }

  [Symbol.iterator](): Iterator<Reader> {
    return this.#readers.values()
  }

  /** Whether this client, one of the principal of the run, reads it. */
  isPresent(client: string): boolean {
    for (const reader of this.#readers) if (reader.client === client && reader.own) return true
    return false
  }

  get size(): number {
    return this.#readers.size
  }

  /** Whether the run has no reader of its principal. */
  get detached(): boolean {
    return this.#own === 0
  }

  /** Whether a reader may answer what the run waits for. */
  get canAnswer(): boolean {
    return this.#answering > 0
  }

  /** From now on the run goes on without a reader. */
  continueDetached(): void {
    this.#onDetach = 'continue'
  }

  /** The actor waits for `pacer` as well from now on. */
  pacedBy(pacer: Pacer): void {
    this.#pacers = [...this.#pacers, pacer]
  }

  join(reader: Reader): void {
    this.#readers.add(reader)
    this.#only = this.#readers.size === 1 ? reader : undefined
    if (reader.policy === 'pace') this.#pacing.add(reader)
    if (reader.own) this.#own++
    if (reader.answers ?? reader.own) this.#answering++
  }

  /** Returns false when the reader had already left. */
  leave(reader: Reader): boolean {
    if (!this.#readers.delete(reader)) return false
    if (reader.own) this.#own--
    if (reader.answers ?? reader.own) this.#answering--
    this.#endRest(reader)
    const [only] = this.#readers
    this.#only = this.#readers.size === 1 ? only : undefined
    this.#holding?.delete(reader)
    if (this.#pacing.delete(reader)) {
      const { cursor, paused } = reader
      this.#lastPacer = { cursor, paused, allowance: paused ? 0 : reader.allowance() }
    }
    return true
  }

  /** Records that a reader has every item and waits to be woken. */
  rest(reader: Reader): void {
    if (reader.resting) return
    reader.resting = true
    this.#resting++
  }

  /**
   * The only reader, if it may be given the next text at once. Asked before the text is logged: the processor then
   * fetches what the log and what the reader needs at the same time.
   */
  get ready(): Reader | undefined {
    return this.#resting > 0 && this.#only?.isReady ? this.#only : undefined
  }

  /**
   * Wakes the resting readers after text was logged. Any other reader is still busy and finds the text itself.
   * @param ready the reader that was `ready` before the text was logged: it takes the text at once if it can.
   */
  wakeResting(ready?: Reader): void {
    if (this.#resting === 0 || ready?.takeText?.()) return
    if (this.#only) return this.#wakeOne(this.#only)
    for (const reader of this.#readers) this.#wakeOne(reader)
  }

  /** Wakes every reader at once, after something was logged that must not wait for a batch. */
  wakeAll(): void {
    for (const reader of [...this.#readers]) {
      this.#endRest(reader)
      reader.wake(true)
    }
  }

  /**
   * Wakes the readers for which the actor waits. Text that waits only for a flush timer would hold the actor until then.
   * The other readers get it in batches, as always.
   */
  wakeHolding(): void {
    for (const reader of [...(this.#holding ?? [])]) {
      this.#endRest(reader)
      reader.wake(true)
    }
  }

  #wakeOne(reader: Reader): void {
    if (this.#endRest(reader)) reader.wake(false)
  }

  /** Returns false when the reader was not resting. */
  #endRest(reader: Reader): boolean {
    if (!reader.resting) return false
    reader.resting = false
    this.#resting--
    return true
  }

  /**
   * The number of texts that may be logged before the caller must ask again; 0 when the actor must wait. It waits for a
   * pacing reader that is paused or too far behind. In a detached run without one, the position and the rate of the last
   * pacing reader count. The number can change when a reader joins, leaves, pauses or moves, when its rate lets more
   * through, and after an event.
   */
  room(): number {
    this.#holding = undefined
    let room = Number.POSITIVE_INFINITY
    for (const pacer of this.#pacers) room = Math.min(room, pacer.room())
    if (this.#pacing.size === 0) {
      const absent = this.#absentPacer()
      if (!absent) return room
      return absent.paused ? 0 : Math.min(room, absent.cursor.room(this.#limits, absent.allowance))
    }
    for (const reader of this.#pacing) {
      const most = this.#roomFor(reader)
      if (most <= 0) (this.#holding ??= new Set()).add(reader)
      room = Math.min(room, most)
    }
    return room
  }

  /**
   * Whether an actor that had no room must still wait after this reader has joined or moved. It looks at this reader
   * only, however many there are. Where it returns false, the caller asks all of them with `room`.
   */
  holds(moved: Reader): boolean {
    const holding = this.#holding
    if (!holding) return false
    if (this.#pacing.has(moved)) {
      if (this.#roomFor(moved) > 0) holding.delete(moved)
      else holding.add(moved)
    }
    return holding.size > 0
  }

  #roomFor(reader: Reader): number {
    return reader.paused ? 0 : reader.cursor.room(this.#limits, reader.allowance())
  }

  /** The oldest item that must be kept for a pacing reader. */
  keepFrom(): number {
    let keep = this.#log.next
    for (const pacer of this.#pacers) keep = Math.min(keep, pacer.safeThrough + 1)
    for (const reader of this.#pacing) keep = Math.min(keep, reader.cursor.safeThrough + 1)
    const absent = this.#pacing.size > 0 ? undefined : this.#absentPacer()
    return absent ? Math.min(keep, absent.cursor.safeThrough + 1) : keep
  }

  /** The log began a new life at item `first`. Moves back the readers beyond it, and wakes every reader. */
  newLife(first: number): void {
    for (const reader of this.#readers) reader.cursor.enterLife(first)
    this.#lastPacer?.cursor.enterLife(first)
    this.wakeAll()
  }

  /** Dismisses every reader, because the run is being forgotten. */
  dismiss(code: string, message: string): void {
    for (const reader of [...this.#readers]) reader.dismiss(code, message)
  }

  /** Lets all readers go, because another process goes on with the run. */
  drop(hasMoved: boolean): void {
    for (const reader of [...this.#readers]) {
      if (reader.drop) reader.drop(hasMoved)
      else reader.dismiss('interrupted', GOES_ON_ELSEWHERE)
    }
  }

  /** The reader that limits a detached run without a pacing reader. A run that continues detached has none. */
  #absentPacer(): AbsentPacer | undefined {
    return this.detached && this.#onDetach !== 'continue' ? this.#lastPacer : undefined
  }
}

import type { OnDetach, Policy } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Cursor } from './cursor.ts'
import type { Log } from './log.ts'

/** One who follows a run: a subscription of a client, or a reader inside this process. */
export interface Reader {
  readonly policy: Policy
  /** Whether it belongs to the run's principal. */
  readonly own: boolean
  readonly cursor: Cursor
  /** Its rate is 0. */
  readonly paused: boolean
  /** Items a second that it asked for, if it did; for who watches. */
  readonly perSec?: number | undefined
  /** It has all there is and wants to be woken: the audience's own mark. */
  resting: boolean
  /** There is something new, `urgent` if it should not wait for company. Must not throw and must not read at once. */
  wake(urgent: boolean): void
  /** The run is being forgotten while this one still reads it. */
  dismiss(code: string, message: string): void
}

/** Those who follow one run, and what they mean for it: when its actor must wait, and what its log must keep. */
export class Readers {
  // What every item touches stands together, as in a production.
  /** The one that there is, if there is but one. */
  #only: Reader | undefined
  /** How many readers have all there is: the next text wakes them, and each is woken once. */
  #resting = 0
  /** The readers that hold the actor back. */
  readonly #pacing = new Set<Reader>()
  readonly #log: Log
  readonly #limits: Limits
  readonly #onDetach: OnDetach
  readonly #readers = new Set<Reader>()
  /** Where the pacing reader that left last stood. */
  #lastPacer: Cursor | undefined
  #own = 0

  constructor(log: Log, limits: Limits, onDetach: OnDetach) {
    this.#log = log
    this.#limits = limits
    this.#onDetach = onDetach
  }

  [Symbol.iterator](): Iterator<Reader> {
    return this.#readers.values()
  }

  get size(): number {
    return this.#readers.size
  }

  /** No reader of the run's principal is there. */
  get detached(): boolean {
    return this.#own === 0
  }

  join(reader: Reader): void {
    this.#readers.add(reader)
    this.#only = this.#readers.size === 1 ? reader : undefined
    if (reader.policy === 'pace') this.#pacing.add(reader)
    if (reader.own) this.#own++
  }

  /** False when it had left already. */
  leave(reader: Reader): boolean {
    if (!this.#readers.delete(reader)) return false
    if (reader.own) this.#own--
    this.#rouse(reader)
    const [only] = this.#readers
    this.#only = this.#readers.size === 1 ? only : undefined
    if (this.#pacing.delete(reader)) this.#lastPacer = reader.cursor
    return true
  }

  /** A reader has all there is. */
  rest(reader: Reader): void {
    if (reader.resting) return
    reader.resting = true
    this.#resting++
  }

  /** Text was logged: wakes who rests. A reader that is still busy finds it by itself. */
  wakeResting(): void {
    if (this.#resting === 0) return
    if (this.#only) return this.#wakeOne(this.#only)
    for (const reader of this.#readers) this.#wakeOne(reader)
  }

  /** Something was logged that nobody should wait for. */
  wakeAll(): void {
    for (const reader of [...this.#readers]) {
      this.#rouse(reader)
      reader.wake(true)
    }
  }

  #wakeOne(reader: Reader): void {
    if (this.#rouse(reader)) reader.wake(false)
  }

  /** False when it did not rest. */
  #rouse(reader: Reader): boolean {
    if (!reader.resting) return false
    reader.resting = false
    this.#resting--
    return true
  }

  /**
   * How many texts may be said for certain before this must be asked again; 0 when the actor must wait: for a pacing
   * reader that is paused or too far behind; without any reader of the principal, for where the last pacing one stood.
   * Another answer may be due when a reader comes, leaves, pauses or moves, and after an event.
   */
  room(): number {
    if (this.#pacing.size === 0) return this.#absentPacer()?.room(this.#limits) ?? Number.POSITIVE_INFINITY
    let room = Number.POSITIVE_INFINITY
    for (const reader of this.#pacing) room = Math.min(room, reader.paused ? 0 : reader.cursor.room(this.#limits))
    return room
  }

  /** The oldest item that must be kept for somebody who paces. */
  keepFrom(): number {
    let keep = this.#log.next
    for (const reader of this.#pacing) keep = Math.min(keep, reader.cursor.safeThrough + 1)
    const absent = this.#pacing.size > 0 ? undefined : this.#absentPacer()
    return absent ? Math.min(keep, absent.safeThrough + 1) : keep
  }

  /** The log began a new life at `first`: who stood beyond it counts from there. */
  newLife(first: number): void {
    for (const reader of this.#readers) reader.cursor.enterLife(first)
    this.#lastPacer?.enterLife(first)
    this.wakeAll()
  }

  /** The run is being forgotten: everybody is sent away. */
  dismiss(code: string, message: string): void {
    for (const reader of [...this.#readers]) reader.dismiss(code, message)
  }

  #absentPacer(): Cursor | undefined {
    return this.detached && this.#onDetach !== 'continue' ? this.#lastPacer : undefined
  }
}

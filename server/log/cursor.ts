import { Balance } from '../../protocol/credit.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Life, Log } from './log.ts'

/** Where a client asks to begin: behind item `after` of life `gen`. 0 is before the first item; null is live. */
export type StartPosition = { readonly after: number | null; readonly gen: number | undefined }

/** Before the first item, in whatever life. */
export const BEGINNING: { readonly after: 0; readonly gen: undefined } = { after: 0, gen: undefined }

/**
 * The item with which a reader behind item `after` of life `gen` goes on: in place of void ones come those of a later
 * life. Of a life that is not known, everything is void.
 * @param gen Default: the life of item 1.
 */
export function nextItem(lives: readonly Life[], after: number, gen?: number): number {
  const from = gen ?? lives.findLast(({ first }) => first <= 1)?.gen
  if (from === undefined) return after + 1
  if (lives.every((life) => life.gen !== from)) return 1
  const later = lives.filter((life) => life.gen > from)
  return Math.min(after + 1, ...later.map(({ first }) => first))
}

/** Largest header of an encoded text, in bytes. */
const HEADER_BYTES = 5

/**
 * A reader's position in a log, and how far its balance reaches. An item may be sent while the balance is above 0, so
 * the last one may overdraw it. `reach` is that last item. It is kept up to date by adding, never by counting again.
 */
export class Cursor {
  readonly log: Log
  readonly #balance: Balance
  readonly #maxCredit: number
  /** An item that is known to have arrived, and the cost of all items sent after it. */
  #arrived: number
  #inFlight = 0
  /** The most by which the last item sent can have overdrawn the balance: the largest cost sent at once. */
  #overdraft = 0
  #last: number
  /** The last item before the lives that began at or before this position and that it has not entered. */
  #lifeBound = Number.POSITIVE_INFINITY
  #gen: number
  #reach: number
  /** The balance once every item up to `reach` is sent. */
  #remaining: number

  constructor(log: Log, at: { last: number; gen: number }, credit: number, maxCredit: number) {
    this.log = log
    this.#balance = new Balance(credit, maxCredit)
    this.#last = at.last
    this.#maxCredit = maxCredit
    this.#arrived = at.last
    this.#gen = at.gen
    this.#reach = at.last
    this.#remaining = this.#balance.available
  }

  /** The last item sent. */
  get last(): number {
    return this.#last
  }

  /**
   * The last item that the log need not keep for this reader. Items sent after it may be lost with the connection and
   * requested again: as many as the largest window holds.
   */
  get safeThrough(): number {
    if (this.#arrived < this.log.first - 1) this.#countFrom(this.log.first - 1)
    while (this.#arrived < this.#last) {
      const cost = this.log.costOf(this.#arrived + 1)
      if (this.#inFlight - cost < this.#maxCredit + this.#overdraft) break
      this.#inFlight -= cost
      this.#arrived++
    }
    return Math.min(this.#arrived, this.#lifeBound)
  }

  /** The number of the log's life that this position belongs to. */
  get gen(): number {
    return this.#gen
  }

  /** The credit left; at or below 0, nothing may be sent. */
  get balance(): number {
    return this.#balance.available
  }

  /** The last item that may be sent now. */
  get reach(): number {
    while (this.#remaining > 0 && this.#reach < this.log.last) {
      const shown = this.log.last - this.#reach
      const units = Math.min(this.#remaining, shown, this.log.unitsFrom(this.#reach + 1))
      if (units > 0) {
        this.#reach += units
        this.#remaining -= units
      } else this.#remaining -= this.log.costOf(++this.#reach)
    }
    return this.#reach
  }

  /** Adds `n` credits. The balance does not rise above `maxCredit`. */
  grant(n: number): void {
    this.#remaining += this.#balance.grant(n)
  }

  /** Records that the items up to `seq` were sent, and what they cost together. */
  sent(seq: number, cost: number): void {
    this.#last = seq
    this.#inFlight += cost
    this.#overdraft = Math.max(this.#overdraft, cost)
    this.#balance.spend(cost)
  }

  /** Moves the position without sending anything: items are missing, or a new life began. */
  moveTo(last: number, gen: number): void {
    const isRewound = last < this.#last
    this.#last = last
    // Void items are no longer in flight: new items take their numbers.
    if (isRewound) this.#countFrom(Math.min(this.#arrived, last))
    this.#gen = gen
    this.#lifeBound = Number.POSITIVE_INFINITY
    this.#reach = last
    this.#remaining = this.#balance.available
  }

  #countFrom(arrived: number): void {
    this.#arrived = arrived
    this.#inFlight = 0
    for (let seq = arrived + 1; seq <= this.#last; seq++) this.#inFlight += this.log.costOf(seq)
  }

  /** The log began a new life at item `first`. `reach` moves back before it, because later items are gone. */
  enterLife(first: number): void {
    if (this.#last >= first) this.#lifeBound = Math.min(this.#lifeBound, first - 1)
    if (this.#reach < first) return
    this.#reach = Math.min(this.#last, first - 1)
    this.#remaining = this.#balance.available
  }

  /**
   * At least this many texts can be logged before the log is too far ahead; 0 when it already is. Too far is `readAhead`
   * items, or half of `retainBytes`, beyond `reach`; or `readAhead` items beyond what the reader's rate lets through. Items
   * that readers are not shown yet count like those that they are: they will need the same credit.
   * @param allowance the number of items that the rate lets through now.
   */
  room(limits: Pick<Limits, 'readAhead' | 'retainBytes' | 'creditUnit'>, allowance: number): number {
    const byCredit = this.#roomByCredit(limits)
    if (allowance === Number.POSITIVE_INFINITY || byCredit <= 0) return byCredit
    const unsent = this.log.written - Math.min(this.#last, this.#lifeBound)
    return Math.max(0, Math.min(byCredit, allowance + limits.readAhead - unsent))
  }

  #roomByCredit({
    readAhead,
    retainBytes,
    creditUnit,
  }: Pick<Limits, 'readAhead' | 'retainBytes' | 'creditUnit'>): number {
    const { written } = this.log
    const { reach } = this
    // The balance reaches beyond the end of the log: the next items may be sent.
    const beyond = written - reach - Math.max(0, this.#remaining)
    if (beyond < 0) return -beyond
    const bytes = retainBytes / 2 - (this.log.bytesThrough(written) - this.log.bytesThrough(reach))
    return Math.max(0, Math.min(readAhead - beyond, Math.ceil(bytes / (creditUnit + HEADER_BYTES))))
  }
}

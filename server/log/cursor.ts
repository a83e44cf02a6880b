import { Balance } from '../../protocol/credit.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Log } from './log.ts'

/** No header of a text is larger. */
const HEADER_BYTES = 5

/**
 * Where a subscription stands in a log, and how far its balance reaches. An item is sendable while the balance is above
 * 0, so the last one may overdraw it; `reach` is that last one, kept up to date by adding, never by counting again.
 */
export class Cursor {
  readonly #log: Log
  readonly #balance: Balance
  readonly #maxCredit: number
  /** An item that has surely arrived, and the cost of what was sent after it. */
  #arrived: number
  #underway = 0
  /** The last item sent may have overdrawn the balance by as much as the largest one cost. */
  #overdraft = 0
  #last: number
  /** The last item before a life that began behind this position and that it has not entered. */
  #lifeBound = Number.POSITIVE_INFINITY
  #gen: number
  #reach: number
  /** What the balance would be once all up to `reach` was sent. */
  #beyond: number

  constructor(log: Log, at: { last: number; gen: number }, credit: number, maxCredit: number) {
    this.#log = log
    this.#balance = new Balance(credit, maxCredit)
    this.#last = at.last
    this.#maxCredit = maxCredit
    this.#arrived = at.last
    this.#gen = at.gen
    this.#reach = at.last
    this.#beyond = this.#balance.available
  }

  /** The last item sent. */
  get last(): number {
    return this.#last
  }

  /**
   * The last item that need not be kept for this one. What was sent may still be lost with the connection and be asked
   * for again: as much as the largest window holds.
   */
  get safeThrough(): number {
    if (this.#arrived < this.#log.first - 1) this.#countFrom(this.#log.first - 1)
    while (this.#arrived < this.#last) {
      const cost = this.#log.costOf(this.#arrived + 1)
      if (this.#underway - cost < this.#maxCredit + this.#overdraft) break
      this.#underway -= cost
      this.#arrived++
    }
    return Math.min(this.#arrived, this.#lifeBound)
  }

  /** The life of the log that this position belongs to. */
  get gen(): number {
    return this.#gen
  }

  get balance(): number {
    return this.#balance.available
  }

  /** The last item that may be sent now. */
  get reach(): number {
    while (this.#beyond > 0 && this.#reach < this.#log.last) {
      const units = Math.min(this.#beyond, this.#log.unitsFrom(this.#reach + 1))
      if (units > 0) {
        this.#reach += units
        this.#beyond -= units
      } else this.#beyond -= this.#log.costOf(++this.#reach)
    }
    return this.#reach
  }

  grant(n: number): void {
    this.#beyond += this.#balance.grant(n)
  }

  /** Items up to `seq` were sent, for `cost`. */
  sent(seq: number, cost: number): void {
    this.#last = seq
    this.#underway += cost
    this.#overdraft = Math.max(this.#overdraft, cost)
    this.#balance.spend(cost)
  }

  /** The position moves without anything being sent: items are missing, or a new life began. */
  moveTo(last: number, gen: number): void {
    const isRewound = last < this.#last
    this.#last = last
    // What became void is no longer under way: others take its numbers.
    if (isRewound) this.#countFrom(Math.min(this.#arrived, last))
    this.#gen = gen
    this.#lifeBound = Number.POSITIVE_INFINITY
    this.#reach = last
    this.#beyond = this.#balance.available
  }

  #countFrom(arrived: number): void {
    this.#arrived = arrived
    this.#underway = 0
    for (let seq = arrived + 1; seq <= this.#last; seq++) this.#underway += this.#log.costOf(seq)
  }

  /** The log began a new life: what it no longer holds cannot have been reached. */
  enterLife(first: number): void {
    if (this.#last >= first) this.#lifeBound = Math.min(this.#lifeBound, first - 1)
    if (this.#reach < first) return
    this.#reach = Math.min(this.#last, first - 1)
    this.#beyond = this.#balance.available
  }

  /**
   * How many texts may be logged for certain until the log is `limits.readAhead` items, or half of what it may retain,
   * beyond what this one may be sent; 0 when it is so now.
   */
  room({ readAhead, retainBytes, creditUnit }: Pick<Limits, 'readAhead' | 'retainBytes' | 'creditUnit'>): number {
    const { last } = this.#log
    const { reach } = this
    // What is left of the balance reaches beyond the log: the next item may be sent.
    if (this.#beyond > 0) return this.#beyond
    const bytes = retainBytes / 2 - (this.#log.bytesThrough(last) - this.#log.bytesThrough(reach))
    return Math.max(0, Math.min(readAhead - (last - reach), Math.ceil(bytes / (creditUnit + HEADER_BYTES))))
  }
}

/**
 * What a text or event of `bytes` encoded bytes costs: one credit for each `creditUnit` begun, at least one. Computed
 * once, when an item is logged; it is the same for every subscription, however items are batched.
 */
export function costOf(bytes: number, creditUnit: number): number {
  return bytes <= creditUnit ? 1 : Math.ceil(bytes / creditUnit)
}

/** The sender's side of credit: what one subscription may still be sent. */
export class Balance {
  /** May fall below 1 by one item: an item is sent while the balance is above 0, whatever it costs. */
  available: number
  readonly #max: number

  constructor(initial: number, max: number) {
    this.#max = max
    this.available = Math.min(initial, max)
  }

  /** Adds a grant, up to the maximum. Returns what was really added. */
  grant(n: number): number {
    const before = this.available
    this.available = Math.min(this.#max, before + n)
    return this.available - before
  }

  spend(cost: number): void {
    this.available -= cost
  }
}

/**
 * The receiver's side of credit: a window, what of it waits unread, and what is owed back to the sender. At all times
 * `sender's balance + on the way = size - queued - owed`.
 */
export class CreditWindow {
  #size: number
  #queued = 0
  #owed = 0

  constructor(size: number) {
    this.#size = size
  }

  get size(): number {
    return this.#size
  }

  /** Cost of what arrived and was not consumed. */
  get queued(): number {
    return this.#queued
  }

  /** Whether the sender could send `count` items of that cost together: a single one needs no more than a rest. */
  allows(cost: number, count: number): boolean {
    const rest = this.#size - this.#queued - this.#owed
    return rest > 0 && (count === 1 || cost <= rest)
  }

  /** An item arrived and waits. */
  arrived(cost: number): void {
    this.#queued += cost
  }

  /** An item that waited was consumed, or became void. */
  released(cost: number): void {
    this.#queued -= cost
    this.#owed += cost
  }

  /** An item arrived that nobody will read (a duplicate): its cost goes straight back. */
  returned(cost: number): void {
    this.#owed += cost
  }

  /** The sender accepted less than was asked: the window shrinks by the difference. */
  shrink(by: number): void {
    this.#size -= by
  }

  /** The credit to send now, or 0 while less than half a window is owed. What it returns counts as sent. */
  due(): number {
    if (this.#owed <= 0 || this.#owed * 2 < this.#size) return 0
    const owed = this.#owed
    this.#owed = 0
    return owed
  }

  /**
   * A new subscription replaces a lost one: the credit to ask for. A queue that overdraws the window is taken off the
   * grants to come.
   */
  reopen(): number {
    this.#owed = Math.min(0, this.#size - this.#queued)
    return Math.max(0, this.#size - this.#queued)
  }
}

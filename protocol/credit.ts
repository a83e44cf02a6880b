/**
 * Returns the cost of a text or event of `bytes` encoded bytes: one credit for each `creditUnit` begun, at least one.
 * The cost is computed once, when the item is logged. It is the same for every subscription, however items are batched.
 */
export function costOf(bytes: number, creditUnit: number): number {
  return bytes <= creditUnit ? 1 : Math.ceil(bytes / creditUnit)
}

/** The sender's side of credit: how much one subscription may still be sent. */
export class Balance {
  /** An item of any cost is sent while the balance is above 0, so the last item may take the balance below 0. */
  available: number
  readonly #max: number

  constructor(initial: number, max: number) {
    this.#max = max
    this.available = Math.min(initial, max)
  }

  /** Adds a grant, up to the maximum. Returns the credit actually added. */
  grant(n: number): number {
    const before = this.available
    this.available = Math.min(this.#max, before + n)
    return this.available - before
  }

  /** Subtracts the cost of an item that was sent. */
  spend(cost: number): void {
    this.available -= cost
  }
}

/**
 * The receiver's side of credit: a window, the cost of the items that wait unread, and the credit owed to the sender.
 * At all times `sender's balance + cost in transit = size - queued - owed`.
 */
export class CreditWindow {
  /** The size of the window, in credits. */
  size: number
  /** The cost of the items that arrived and were not consumed. */
  queued = 0
  #owed = 0

  constructor(size: number) {
    this.size = size
  }

  /** Returns whether the sender could send `count` items that together cost `cost`. One item needs only 1 credit. */
  allows(cost: number, count: number): boolean {
    const balance = this.size - this.queued - this.#owed
    return balance > 0 && (count === 1 || cost <= balance)
  }

  /** Records that an item arrived and waits to be consumed. */
  arrived(cost: number): void {
    this.queued += cost
  }

  /** Records that a waiting item was consumed or became void. */
  released(cost: number): void {
    this.queued -= cost
    this.returned(cost)
  }

  /** Records that a duplicate arrived, which is not consumed: its cost is owed at once. */
  returned(cost: number): void {
    this.#owed += cost
  }

  /** Shrinks the window by the credit that the sender did not accept. */
  shrink(by: number): void {
    this.size -= by
  }

  /** Returns the credit to send now; 0 while less than half the window is owed. The returned credit counts as sent. */
  due(): number {
    if (this.#owed <= 0 || this.#owed * 2 < this.size) return 0
    const owed = this.#owed
    this.#owed = 0
    return owed
  }

  /**
   * Returns the credit to ask for when a new subscription replaces a lost one. If the queue exceeds the window, later
   * grants are reduced by the excess.
   */
  reopen(): number {
    this.#owed = Math.min(0, this.size - this.queued)
    return Math.max(0, this.size - this.queued)
  }
}

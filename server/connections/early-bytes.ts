import type { Limits } from '../../protocol/limits.ts'

/** The part of one socket. */
export interface EarlyShare {
  /** The socket now holds this many bytes. May give up sockets, this one included. */
  set(bytes: number): void
  /** The socket was sent WELCOME, or is closed. */
  release(): void
}

type Holder = { bytes: number; readonly giveUp: () => void }

/**
 * The bytes that all sockets of a node hold before WELCOME, when nobody knows yet whose they are. When they are too many,
 * the oldest sockets are given up: a client that means well says HELLO at once and is gone from here a moment later.
 */
export class EarlyBytes {
  readonly #most: number
  /** The sockets that were not sent WELCOME, in the order in which they opened. */
  readonly #holders = new Set<Holder>()
  #bytes = 0

  constructor({ beforeWelcomeTotal }: Pick<Limits, 'beforeWelcomeTotal'>) {
    this.#most = beforeWelcomeTotal
  }

  /** Adds a socket, which holds nothing yet. `giveUp` ends it; it must call `release`. */
  add(giveUp: () => void): EarlyShare {
    const holder: Holder = { bytes: 0, giveUp }
    this.#holders.add(holder)
    return {
      set: (bytes) => this.#set(holder, bytes),
      release: () => this.#release(holder),
    }
  }

  #set(holder: Holder, bytes: number): void {
    if (!this.#holders.has(holder)) return
    this.#bytes += bytes - holder.bytes
    holder.bytes = bytes
    for (const oldest of this.#holders) {
      if (this.#bytes <= this.#most) return
      this.#release(oldest)
      oldest.giveUp()
    }
  }

  #release(holder: Holder): void {
    if (!this.#holders.delete(holder)) return
    this.#bytes -= holder.bytes
    holder.bytes = 0
  }
}

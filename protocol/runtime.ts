/** A timer that was set and can be cleared. Clearing one that fired, or clearing twice, does nothing. */
export type Timer = { clear(): void }

/**
 * What the client takes from outside: time and chance. It, the server and a simulation each hand in their own, so that
 * the same code runs on a real clock or in virtual time, and a failing seed replays exactly.
 */
export interface ClientRuntime {
  /** Monotonic milliseconds, for durations only. */
  now(): number
  /** Wall clock in epoch milliseconds, for timestamps only. It may jump. */
  wallClock(): number
  /**
   * Calls `callback` once after `ms` milliseconds, never synchronously. It must not keep a process alive by itself. It
   * may fire early only for delays of more than 24 days.
   */
  setTimer(ms: number, callback: () => void): Timer
  /** `length` random bytes from a cryptographic source (a seeded one in a simulation). The caller owns them. */
  randomBytes(length: number): Uint8Array
  /** A number in [0, 1), for jitter. */
  random(): number
}

/** What the server takes from outside. */
export interface Runtime extends ClientRuntime {
  /** Calls `callback` after the I/O of this event-loop turn: the place where a turn's output is sent as one message. */
  nextTurn(callback: () => void): void
}

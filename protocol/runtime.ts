/** A timer that can be cleared. Clearing it again, or after it fired, does nothing. */
export type Timer = {
  /** Stops the timer. */
  clear(): void
}

/**
 * The clock, timers and randomness of a client. Client, server and simulation each provide their own. The same code
 * thus runs on a real clock or in virtual time, and a failing seed replays exactly.
 */
export interface ClientRuntime {
  /** Monotonic milliseconds, for durations only. */
  now(): number
  /** Wall clock in epoch milliseconds, for timestamps only. It may jump. */
  wallClock(): number
  /**
   * Calls `callback` once after `ms` milliseconds, never synchronously. The timer must not keep a process alive by
   * itself. It may fire early only for delays of more than 24 days.
   */
  setTimer(ms: number, callback: () => void): Timer
  /** Returns `length` random bytes of a cryptographic source (in a simulation, a seeded one). The caller owns them. */
  randomBytes(length: number): Uint8Array
  /** Returns a number in [0, 1), for jitter. */
  random(): number
}

/** The clock, timers and randomness of a server. */
export interface Runtime extends ClientRuntime {
  /** Calls `callback` after the I/O of the current loop turn, whose output is then sent as one message. */
  nextTurn(callback: () => void): void
}

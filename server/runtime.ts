import { pooledRandomBytes } from '../protocol/random-pool.ts'
import type { Runtime, Timer } from '../protocol/runtime.ts'

/** The longest delay that `setTimeout` accepts. A longer one fires at once. */
const LONGEST_MS = 2 ** 31 - 1

/** Clock, timers and randomness of a Node process. The timers do not keep the process alive. */
export const nodeRuntime: Runtime = {
  now: () => performance.now(),
  wallClock: () => Date.now(),
  setTimer(ms, callback) {
    // Node drops fractions of a millisecond, so a flush due in 3.2 ms would come after 3 ms.
    const timer = setTimeout(callback, Math.min(Math.ceil(ms), LONGEST_MS))
    timer.unref()
    return { clear: () => clearTimeout(timer) }
  },
  nextTurn: (callback) => void setImmediate(callback),
  randomBytes: pooledRandomBytes,
  random: Math.random,
}

/**
 * What the wall clock said at a time of the runtime's `now()`, in whole milliseconds since 1970.
 *
 * Rounded up, because the wall clock cuts its own reading down: the result is never before what it said at that time.
 */
export function wallClockAt(runtime: Runtime, time: number): number {
  return Math.ceil(runtime.wallClock() - (runtime.now() - time))
}

/** Keeps the process alive while it is held, because timers of the runtime do not. */
export class KeepAlive {
  #holds = 0
  #timer: NodeJS.Timeout | undefined

  /** Holds once more. Each hold needs a `release`. */
  hold(): void {
    if (this.#holds++ === 0) this.#timer = setInterval(() => {}, LONGEST_MS)
  }

  release(): void {
    if (--this.#holds === 0) clearInterval(this.#timer)
  }
}

/**
 * A runtime that catches the errors of its callbacks, in timers and loop turns, and passes them to `failed`. An error
 * thus ends at most one run or connection, never the process. Guarding a guarded runtime replaces the guard.
 */
export class GuardedRuntime implements Runtime {
  readonly #inner: Runtime
  readonly #failed: (error: unknown) => void

  /** @param failed Receives each error. It must not throw. */
  constructor(runtime: Runtime, failed: (error: unknown) => void) {
    this.#inner = runtime instanceof GuardedRuntime ? runtime.#inner : runtime
    this.#failed = failed
  }

  now(): number {
    return this.#inner.now()
  }

  wallClock(): number {
    return this.#inner.wallClock()
  }

  setTimer(ms: number, callback: () => void): Timer {
    return this.#inner.setTimer(ms, () => this.enter(callback))
  }

  nextTurn(callback: () => void): void {
    this.#inner.nextTurn(() => this.enter(callback))
  }

  randomBytes(length: number): Uint8Array {
    return this.#inner.randomBytes(length)
  }

  random(): number {
    return this.#inner.random()
  }

  /** Calls `callback` under the same guard. It is for callbacks of promises and sockets. */
  enter(callback: () => void): void {
    try {
      callback()
    } catch (error) {
      this.#failed(error)
    }
  }
}

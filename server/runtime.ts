import { randomFillSync } from 'node:crypto'
import type { Runtime, Timer } from '../protocol/runtime.ts'

const POOL_BYTES = 4_096
/** The longest delay that `setTimeout` takes; beyond it fires at once. */
const LONGEST_MS = 2 ** 31 - 1
let pool = Buffer.allocUnsafe(0)
let used = 0

/** Random bytes cut from a buffer filled at once: a call of the generator for every id costs thirty times as much. */
function pooledRandomBytes(length: number): Uint8Array {
  if (used + length > pool.length) {
    pool = randomFillSync(Buffer.alloc(Math.max(POOL_BYTES, length)))
    used = 0
  }
  const bytes = new Uint8Array(pool.subarray(used, used + length))
  pool.fill(0, used, used + length)
  used += length
  return bytes
}

/** Time and chance of a Node process. Its timers do not keep the process alive. */
export const nodeRuntime: Runtime = {
  now: () => performance.now(),
  wallClock: () => Date.now(),
  setTimer(ms, callback) {
    // Node drops what is less than a millisecond: a flush that is asked for in 3.2 would come in 3.
    const timer = setTimeout(callback, Math.min(Math.ceil(ms), LONGEST_MS))
    timer.unref()
    return { clear: () => clearTimeout(timer) }
  },
  nextTurn: (callback) => void setImmediate(callback),
  randomBytes: pooledRandomBytes,
  random: Math.random,
}

/**
 * A runtime whose timers and next turns are entries into one part of the server: what is thrown in them ends that part,
 * as `failed` does it, and never the process. A guard around a guarded runtime takes its place.
 */
export class GuardedRuntime implements Runtime {
  readonly #inner: Runtime
  readonly #failed: (error: unknown) => void

  /** @param failed must not throw. */
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

  /** Calls `callback`, as an entry of another kind: what a promise or a socket brings. */
  enter(callback: () => void): void {
    try {
      callback()
    } catch (error) {
      this.#failed(error)
    }
  }
}

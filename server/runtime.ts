import { randomFillSync } from 'node:crypto'
import type { Runtime } from '../protocol/runtime.ts'

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

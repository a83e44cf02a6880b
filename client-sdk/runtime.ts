import type { ClientRuntime } from '../protocol/runtime.ts'

/** The longest delay that `setTimeout` takes; beyond it fires at once. */
const LONGEST_MS = 2 ** 31 - 1

/**
 * Time and chance of a browser, or of Node. Its timers keep a Node process alive: a client that waits to reconnect is
 * waiting for something, as one with an open socket is.
 */
export const systemRuntime: ClientRuntime = {
  now: () => performance.now(),
  wallClock: () => Date.now(),
  setTimer(ms, callback) {
    const timer = setTimeout(callback, Math.min(ms, LONGEST_MS))
    return { clear: () => clearTimeout(timer) }
  },
  randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  random: () => Math.random(),
}

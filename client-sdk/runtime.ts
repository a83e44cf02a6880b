import type { ClientRuntime } from '../protocol/runtime.ts'

/** The longest delay of `setTimeout`, in milliseconds. With a longer one it fires at once. */
const LONGEST_MS = 2 ** 31 - 1

/**
 * Clock, timers and random numbers of a browser or of Node. A timer keeps a Node process alive, as an open socket does:
 * a client that waits to reconnect is at work.
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

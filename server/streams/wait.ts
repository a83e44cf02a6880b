import type { Runtime } from '../../protocol/runtime.ts'

/** Real timers and randomness. Unlike a server's timers, they keep the process alive, because a caller awaits them. */
export const realTime: Pick<Runtime, 'setTimer' | 'random'> = {
  random: Math.random,
  setTimer(ms, callback) {
    const timer = setTimeout(callback, ms)
    return { clear: () => clearTimeout(timer) }
  },
}

/**
 * Resolves after `ms` milliseconds. If `signal` aborts, it rejects at once with the signal's reason. Neither timer nor
 * listener remains.
 */
export function wait(ms: number, signal: AbortSignal, runtime: Pick<Runtime, 'setTimer'> = realTime): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const timer = runtime.setTimer(ms, () => {
      signal.removeEventListener('abort', stop)
      resolve()
    })
    function stop(): void {
      timer.clear()
      reject(signal.reason)
    }
    signal.addEventListener('abort', stop, { once: true })
  })
}

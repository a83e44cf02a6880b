import type { Runtime } from '../../protocol/runtime.ts'

/** Real time and chance. Unlike those of a server its timers keep the process alive: somebody awaits what they end. */
export const realTime: Pick<Runtime, 'setTimer' | 'random'> = {
  random: Math.random,
  setTimer(ms, callback) {
    const timer = setTimeout(callback, ms)
    return { clear: () => clearTimeout(timer) }
  },
}

/**
 * Resolves after `ms` milliseconds. Aborting `signal` rejects at once with its reason; either way neither timer nor
 * listener stays behind.
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

import type { Runtime } from '../../protocol/runtime.ts'

export type SetTimer = Runtime['setTimer']

/** The real timer. Unlike a runtime's own it keeps the process alive: somebody awaits what it ends. */
export const setRealTimer: SetTimer = (ms, callback) => {
  const timer = setTimeout(callback, ms)
  return { clear: () => clearTimeout(timer) }
}

/**
 * Resolves after `ms` milliseconds. Aborting `signal` rejects at once with its reason; either way neither timer nor
 * listener stays behind.
 */
export function wait(ms: number, signal: AbortSignal, setTimer: SetTimer = setRealTimer): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const timer = setTimer(ms, () => {
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

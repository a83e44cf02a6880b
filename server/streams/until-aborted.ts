/**
 * Settles as `work` does, or rejects with the reason of `signal` as soon as it aborts. The work itself then goes on,
 * and its failure is ignored. No listener remains.
 */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason)
    const removeListener = (): void => signal.removeEventListener('abort', stop)
    work.then(resolve, reject).finally(removeListener)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

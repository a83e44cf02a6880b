/**
 * What `work` settles with, or the reason of `signal` as soon as it aborts. The work itself goes on then, and its failure
 * is nobody's any more. No listener stays behind.
 */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason)
    const over = (): void => signal.removeEventListener('abort', stop)
    work.then(resolve, reject).finally(over)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

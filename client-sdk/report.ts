/**
 * Reports an error of the application's own code, which was called from here, as an event listener's error is reported:
 * to `error` of a page, to `uncaughtException` in Node. The caller goes on.
 */
export function report(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}

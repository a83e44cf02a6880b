/**
 * Returns whether a value must be awaited: a promise, of this realm or another, or any other object with a `then`
 * method. Values that users provide can be any of these.
 * @throws The error of a `then` getter.
 */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  return typeof (value as { then?: unknown }).then === 'function'
}

/**
 * Whether something is to be waited for: a promise, of this realm or another, or anything else with a `then`. What users
 * hand over may be any of these.
 * @throws what a getter of `then` throws.
 */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  return typeof (value as { then?: unknown }).then === 'function'
}

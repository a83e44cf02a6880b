import type { ClientRuntime } from '../protocol/runtime.ts'

/** `backoffMs`: the longest wait before the first try; it doubles with each try, up to `maxBackoffMs`. */
type BackoffLimits = { readonly backoffMs: number; readonly maxBackoffMs: number }

/** A random time to wait before try `n`, in milliseconds. The first try is 0. */
export function backoff({ runtime, limits }: { runtime: ClientRuntime; limits: BackoffLimits }, n: number): number {
  return runtime.random() * Math.min(limits.maxBackoffMs, limits.backoffMs * 2 ** n)
}

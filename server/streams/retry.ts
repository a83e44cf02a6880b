import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { realTime, wait } from './wait.ts'

export type RetryOptions = {
  /** Aborting it ends a wait at once, with its reason. No attempt follows. */
  signal: AbortSignal
  /** The most attempts after the first one. Default 3. */
  maxRetries?: number
  /** Longest wait before the first retry, in milliseconds. It doubles with each retry. Default 1,000. */
  firstMs?: number
  /** Longest wait before any retry, in milliseconds. Default 10,000. */
  maxMs?: number
  /** Longest `details.afterMs` to wait for, in milliseconds. An error that asks for more is final. Default 60,000. */
  maxAfterMs?: number
  /** Timers and randomness of the waits. Default: real ones. */
  runtime?: Pick<Runtime, 'setTimer' | 'random'>
}

export type RetryEvent = Extract<RunEvent, { type: 'retry' }>

/**
 * Calls `attempt` until it succeeds, and returns its result. Before each wait it yields the number of the retry (from
 * 1), the wait, and the code of the error.
 *
 * An error is retried if it is a `MillraceError` with `retryable`. The wait is random, at most 1 s, 2 s, 4 s ... 10 s,
 * so that clients that failed together do not return together. It is never less than the error's `details.afterMs`.
 * @throws The last error of `attempt`, or the signal's reason.
 */
export async function* retry<Result>(
  attempt: () => Promise<Result>,
  options: RetryOptions,
): AsyncGenerator<RetryEvent, Result, undefined> {
  const { signal, maxRetries = 3, firstMs = 1_000, maxMs = 10_000, maxAfterMs = 60_000, runtime = realTime } = options
  for (let retries = 0; ; ) {
    signal.throwIfAborted()
    try {
      return await attempt()
    } catch (error) {
      signal.throwIfAborted()
      if (!MillraceError.is(error) || !error.retryable || retries >= maxRetries) throw error
      const afterMs = afterMsOf(error)
      if (afterMs > maxAfterMs) throw error
      const longest = Math.min(maxMs, firstMs * 2 ** retries)
      const delayMs = Math.max(Math.round(runtime.random() * longest), afterMs)
      retries++
      yield { type: 'retry', attempt: retries, delayMs, code: error.code }
      await wait(delayMs, signal, runtime)
    }
  }
}

/** Returns the wait that the error asks for, in milliseconds; 0 when it asks for none. */
function afterMsOf({ details }: MillraceError): number {
  if (typeof details !== 'object' || details === null || !('afterMs' in details)) return 0
  return typeof details.afterMs === 'number' && details.afterMs > 0 ? details.afterMs : 0
}

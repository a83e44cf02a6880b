import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import { realTime, wait } from './wait.ts'

export type RetryOptions = {
  /** Aborting it ends a wait at once, with its reason; no attempt is made afterwards. */
  signal: AbortSignal
  /** Attempts after the first one. Default 3. */
  maxRetries?: number
  /** Longest wait before the first retry, in milliseconds; it doubles with each. Default 1,000. */
  firstMs?: number
  /** Longest wait of all, in milliseconds. Default 10,000. */
  maxMs?: number
  /** Longest `afterMs` that is obeyed, in milliseconds; asked to wait longer, it gives up. Default 60,000. */
  maxAfterMs?: number
  /** Timer and chance of the waits. Default: the real ones. */
  runtime?: Pick<Runtime, 'setTimer' | 'random'>
}

export type RetryEvent = Extract<RunEvent, { type: 'retry' }>

/**
 * Calls `attempt` until it succeeds, and returns what it gave. Before each wait it yields what comes: the number of the
 * retry (from 1), the wait, and the code of the error behind it.
 *
 * An error is retried if it is a `MillraceError` that says `retryable`. The wait is anything up to 1 s, 2 s, 4 s ...
 * 10 s, so that many who failed together do not come back together, and never less than `details.afterMs` of the error.
 * @throws the last error of `attempt`, or the signal's reason.
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

/** How long the failed side asks to be left alone, in milliseconds. */
function afterMsOf({ details }: MillraceError): number {
  if (typeof details !== 'object' || details === null || !('afterMs' in details)) return 0
  return typeof details.afterMs === 'number' && details.afterMs > 0 ? details.afterMs : 0
}

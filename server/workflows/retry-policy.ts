import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'

/** How often a step is tried, and how long it waits in between. */
export type RetryPolicy = {
  /** The most attempts, with the first one. */
  attempts: number
  /** Longest wait before the second attempt, in milliseconds. It doubles with each attempt. Default 1,000. */
  delayMs?: number | undefined
  /** Longest wait before any attempt, in milliseconds. Default 10,000. */
  maxDelayMs?: number | undefined
  /**
   * Whether an error may be gone in another attempt. Default: a `MillraceError` that says so in `retryable`, and every
   * other error.
   */
  when?: ((error: unknown) => boolean) | undefined
}

const OPTIONS: OptionKinds<RetryPolicy> = {
  attempts: 'a number',
  delayMs: 'a number',
  maxDelayMs: 'a number',
  when: 'a function',
}

/** @throws MillraceError `bad_request` for a policy that is none. */
export function checkRetry(step: string, policy: RetryPolicy | undefined): void {
  if (policy === undefined) return
  checkOptions(`retry of step ${step}`, policy, OPTIONS)
  const { attempts, delayMs = 0, maxDelayMs = 0 } = policy
  if (!Number.isSafeInteger(attempts) || attempts < 1 || !(delayMs >= 0) || !(maxDelayMs >= 0))
    throw new MillraceError(
      'bad_request',
      `retry of step ${step} needs attempts, a whole number from 1 on, and delays of at least 0 ms`,
    )
}

/** The error of an attempt, in the form in which `retry` of `server/streams/` decides about it. */
export function retriable(thrown: unknown, { when }: RetryPolicy): MillraceError {
  const isOurs = MillraceError.is(thrown)
  const retryable = !MillraceError.is(thrown, 'cancelled') && (when ? when(thrown) : isOurs ? thrown.retryable : true)
  if (isOurs && thrown.retryable === retryable) return thrown
  if (!isOurs) return new MillraceError('actor_failed', 'the step failed', { cause: thrown, retryable })
  const { code, message, details } = thrown
  return new MillraceError(code, message, { cause: thrown, details, retryable })
}

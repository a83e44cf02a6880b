import { MillraceError } from '../../protocol/errors.ts'
import { excerpt, wellFormed } from '../text.ts'

/** The longest message of an error that an event says. */
const MAX_CHARACTERS = 1_000

/** Errors that have their step already. */
const FAILURES = new WeakSet<MillraceError>()

/**
 * The error of a step: it names the step, in its message and as `step` of its `details`. Readers see the message of a
 * `MillraceError` only; any other error is reported.
 */
export function failureOf(thrown: unknown, id: string, report: (error: unknown) => void): MillraceError {
  if (MillraceError.is(thrown) && FAILURES.has(thrown)) return thrown
  const isOurs = MillraceError.is(thrown)
  if (!isOurs) report(thrown)
  const isCancelled = MillraceError.is(thrown, 'cancelled')
  const why = isCancelled ? 'was cancelled' : isOurs ? `failed: ${thrown.message}` : "failed; the server's log says why"
  const known = isOurs && typeof thrown.details === 'object' ? thrown.details : undefined
  const failure = new MillraceError(isOurs ? thrown.code : 'actor_failed', `step ${id} ${why}`, {
    cause: thrown,
    details: { ...known, step: id },
    ...(isOurs && { retryable: thrown.retryable }),
  })
  FAILURES.add(failure)
  return failure
}

/** The words of an error in an event. */
export function wordsOf({ message }: MillraceError): string {
  return wellFormed(excerpt(message, MAX_CHARACTERS))
}

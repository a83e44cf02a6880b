import type { ServerLog } from '../logging/logger.ts'
import { writeError } from '../logging/stderr-logger.ts'
import { ModelFailure } from '../models/model-failure.ts'
import { isThenable } from '../streams/thenable.ts'

/** Where an error came from: in an actor's run, or, without either, in the server itself. */
export type ErrorPlace = { actor?: string; run?: string }

/** Receives the errors that clients must not see. What it returns is ignored; a promise may be rejected. */
export type ErrorHandler = (error: unknown, where: ErrorPlace) => unknown

/**
 * Makes a report of errors that never throws: it goes to the log and to `onError`. `onError` may fail as well, at once
 * or later, and that must not reach the run or the connection that failed first. Its own error is written to stderr.
 * `fields` go to the log alone.
 */
export function errorReport(
  log: ServerLog,
  onError: ErrorHandler | undefined,
): (error: unknown, where: ErrorPlace, fields?: { readonly [name: string]: unknown }) => void {
  return (error, where, fields) => {
    record(log, error, { ...where, ...fields })
    if (!onError) return
    const alsoFailed = (second: unknown): void => writeError({ err: second, ...where })
    try {
      const answer = onError(error, where)
      if (isThenable(answer)) Promise.resolve(answer).catch(alsoFailed)
    } catch (second) {
      alsoFailed(second)
    }
  }
}

function record(log: ServerLog, error: unknown, where: ErrorPlace): void {
  if (isModelFailure(error)) {
    const { model, status, cause } = error
    return log.write('model.failed', { ...where, model, code: cause.code, status, err: error })
  }
  log.write(where.run === undefined ? 'server.failed' : 'run.failed', { ...where, err: error })
}

/** Anything can be thrown, also a proxy whose prototype cannot be read. */
function isModelFailure(error: unknown): error is ModelFailure {
  try {
    return error instanceof ModelFailure
  } catch {
    return false
  }
}

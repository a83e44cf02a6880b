import { isThenable } from '../streams/thenable.ts'

/** Where an error came from: in an actor's run, or, without either, in the server itself. */
export type ErrorPlace = { actor?: string; run?: string }

/** Receives the errors that clients must not see. What it returns is ignored; a promise may be rejected. */
export type ErrorHandler = (error: unknown, where: ErrorPlace) => unknown

/**
 * Makes a report of errors that never throws: `onError` may fail as well, at once or later, and that must not reach the
 * run or the connection that failed first. Its own error is written to stderr.
 * @param onError undefined: one line on stderr.
 */
export function errorReport(onError: ErrorHandler | undefined): (error: unknown, where: ErrorPlace) => void {
  const handler = onError ?? writeToStderr
  return (error, where) => {
    const alsoFailed = (second: unknown): void => writeToStderr(second, where)
    try {
      const answer = handler(error, where)
      if (isThenable(answer)) Promise.resolve(answer).catch(alsoFailed)
    } catch (second) {
      alsoFailed(second)
    }
  }
}

function writeToStderr(error: unknown, { actor, run }: ErrorPlace): void {
  const where = actor === undefined ? '' : ` in actor ${actor}, run ${String(run)}`
  process.stderr.write(`millrace: error${where}: ${oneLine(textOf(error))}\n`)
}

/** Text as JSON on one line that steers no terminal: JSON itself leaves some control characters as they are. */
function oneLine(text: string): string {
  const controls = /[\u007f-\u009f\u2028\u2029]/g
  return JSON.stringify(text).replace(
    controls,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** The text of a thrown value. Anything can be thrown, also a value that cannot be converted to text. */
function textOf(thrown: unknown): string {
  try {
    // Also `stack` and `message` may be anything.
    const shown: unknown = thrown instanceof Error ? (thrown.stack ?? thrown.message) : thrown
    return String(shown)
  } catch {
    return 'something was thrown that cannot be shown'
  }
}

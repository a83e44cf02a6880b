import type { LogFields, Logger } from './logger.ts'

/**
 * The logger of a server that is given none. It writes warnings to stderr, one line each, and errors unless somebody
 * else receives them.
 */
export function stderrLogger({ errors }: { errors: boolean }): Logger {
  return {
    debug: () => {},
    info: () => {},
    warn: ({ event: _, ...fields }, message) => writeLine(`warning: ${message}: ${oneLine(fields)}`),
    error: (fields) => errors && writeError(fields),
  }
}

/** Writes an error to stderr, and the run that it comes from. */
export function writeError({ err, actor, run, leftOut }: Partial<LogFields>): void {
  const where = actor === undefined ? '' : ` in actor ${actor as string}, run ${String(run)}`
  writeLine(leftOut === undefined ? `error${where}: ${oneLine(textOf(err))}` : `error: ${leftOut as number} more`)
}

function writeLine(text: string): void {
  process.stderr.write(`millrace: ${text}\n`)
}

/** A value as JSON on one line that steers no terminal: JSON itself leaves some control characters as they are. */
function oneLine(value: unknown): string {
  const controls = /[\u007f-\u009f\u2028\u2029]/g
  return JSON.stringify(value).replace(
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

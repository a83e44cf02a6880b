import type { LogFields, Logger } from '../logging/logger.ts'
import { messageOf, placeOf } from './exit.ts'
import type { Output } from './output.ts'

/**
 * The logger of `millrace serve`: one line of words for each record, on stderr. Warnings are always printed.
 * @param errors whether errors are printed. They are not if the config file has an `onError`.
 * @param verbose whether connections and runs are printed.
 */
export function terminalLogger(
  output: Output,
  { errors, verbose }: { readonly errors: boolean; readonly verbose: boolean },
): Logger {
  return {
    debug: () => {},
    info: (fields, message) => {
      const isTold = fields.event === 'store.recovered' || (verbose && !isOfServer(fields))
      if (isTold) output.note(withFields(message, fields))
    },
    warn: (fields, message) => output.fail(`warning: ${withFields(message, fields)}`),
    error: (fields, message) => errors && output.fail(errorWords(fields, message)),
  }
}

/** Whether a record is about what the command prints by itself: its address, and that it drains. */
function isOfServer({ event }: LogFields): boolean {
  return event.startsWith('server.')
}

function withFields(message: string, { event: _, ...fields }: Partial<LogFields>): string {
  const words = Object.entries(fields).map(([name, value]) => `${name} ${wordsOf(value)}`)
  return words.length === 0 ? message : `${message}: ${words.join(', ')}`
}

function wordsOf(value: unknown): string {
  return typeof value === 'string' && value !== '' ? value : JSON.stringify(value)
}

/** An error in one line: what was thrown, and where. */
function errorWords({ event, err, actor, run, leftOut }: LogFields, message: string): string {
  if (leftOut !== undefined) return withFields(message, { leftOut })
  if (event === 'store.failed') return `${message}: ${messageOf(err)}`
  const where = actor === undefined ? 'internal error' : `actor ${actor as string} failed in run ${String(run)}`
  return `${where}: ${messageOf(err)}${placeOf(err)}`
}

import type { MillraceError } from '../../protocol/errors.ts'
import type { ServerLog } from './logger.ts'

/** The codes of errors that report a limit of the server. */
const CODES: readonly string[] = ['too_many_streams', 'rate_limited', 'overloaded']

/** Whether an error reports a limit of the server. */
export function isLimitError({ code }: MillraceError): boolean {
  return CODES.includes(code)
}

/**
 * Writes that a client met a limit. Only a limit's message is written: others may quote what the client sent.
 * @param who the client, as the log has it.
 * @returns false, and writes nothing, for an error that reports no limit.
 */
export function noteLimit(log: ServerLog, error: MillraceError, who: { readonly [name: string]: unknown }): boolean {
  const isLimit = isLimitError(error)
  if (isLimit) log.write('limit.met', { ...who, code: error.code, reason: error.message })
  return isLimit
}

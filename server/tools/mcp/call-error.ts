import { ProtocolError, SdkError, SdkErrorCode, SdkHttpError } from '@modelcontextprotocol/client'
import { type ErrorCode, MillraceError } from '../../../protocol/errors.ts'
import { LOST_ANSWER } from './endpoint-transport.ts'
import type { ServerSettings } from './server-options.ts'

type Named = Pick<ServerSettings, 'name' | 'hide'>

const CLOSED: readonly string[] = [SdkErrorCode.ConnectionClosed, SdkErrorCode.NotConnected, SdkErrorCode.SendFailed]
/** The status of a request whose session the server does not know, such as after it was started again. */
const UNKNOWN_SESSION = 404

/** Whether a connection is of no more use after this error of a call. */
export function isGone(error: unknown): boolean {
  if (error instanceof ProtocolError) return error.code === LOST_ANSWER
  if (error instanceof SdkHttpError) return error.status === UNKNOWN_SESSION
  if (error instanceof SdkError) return CLOSED.includes(error.code)
  return isNetworkError(error) || isNotConnected(error)
}

/** Whether a call with this error surely never reached the server. */
export function isUnsent(error: unknown): boolean {
  if (error instanceof SdkHttpError) return error.status === UNKNOWN_SESSION
  if (error instanceof SdkError) return error.code === SdkErrorCode.NotConnected
  return isNotConnected(error) || (isNetworkError(error) && causeCode(error) === 'ECONNREFUSED')
}

/** The error of a call, in words that the model may see. What an HTTP server wrote is not among them. */
export function callError({ name, hide }: Named, error: unknown): MillraceError {
  const of = `the MCP server ${name}`
  if (MillraceError.is(error, 'tool_failed') || MillraceError.is(error, 'unavailable')) return error
  if (MillraceError.is(error)) return new MillraceError('tool_failed', `${of}: ${error.message}`, { cause: error })
  if (isGone(error)) return new MillraceError('tool_failed', `${of} went away during the call`, { cause: error })
  return failure('tool_failed', `${of} ${wordsOf(error)}`, hide, error)
}

/** The error of a server that cannot be reached, or started, or asked for its tools. */
export function reachError({ name, hide }: Named, error: unknown): MillraceError {
  if (MillraceError.is(error)) return error
  return failure('unavailable', `the MCP server ${name} ${wordsOf(error)}`, hide, error)
}

/** What a server says may repeat what it was configured with. Then, neither the words nor the cause are passed on. */
function failure(code: ErrorCode, said: string, hide: Named['hide'], cause: unknown): MillraceError {
  const message = hide(said)
  return new MillraceError(code, message, message === said && !(cause instanceof ProtocolError) ? { cause } : {})
}

function wordsOf(error: unknown): string {
  return error instanceof ProtocolError ? `answered: ${error.message}` : failureOf(error)
}

function failureOf(error: unknown): string {
  const http = [error, causeOf(error)].find((one) => one instanceof SdkHttpError)
  if (http) return `answered with HTTP ${String(http.status)}`
  const code = causeCode(error)
  if (code !== undefined) return `cannot be reached: ${code}`
  if (error instanceof SdkError && error.code === SdkErrorCode.RequestTimeout) return 'did not answer in time'
  if (error instanceof SdkError && error.code === SdkErrorCode.ConnectionClosed) return 'ended before it answered'
  return 'failed'
}

/** The code of an error of the system, such as `ENOENT`, from the error or from what caused it. */
function causeCode(error: unknown): string | undefined {
  for (let one = error, depth = 0; one instanceof Error && depth < 5; one = causeOf(one), depth++) {
    const code = 'code' in one ? one.code : undefined
    if (typeof code === 'string' && /^E[A-Z]+$/.test(code)) return code
  }
  return undefined
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined
}

function isNetworkError(error: unknown): boolean {
  return error instanceof TypeError && causeOf(error) !== undefined
}

function isNotConnected(error: unknown): boolean {
  return error instanceof Error && error.message === 'Not connected'
}

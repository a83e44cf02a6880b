import { STATUS_CODES } from 'node:http'
import { type ErrorCode, MillraceError } from '../../protocol/errors.ts'
import type { Limits } from '../../protocol/limits.ts'
import { errorData } from '../log/error-data.ts'

/** The status of each error code. Codes of a run that has failed are here as well: an answer may be the run's end. */
const STATUS: { readonly [code in ErrorCode]?: number } = {
  bad_request: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  key_conflict: 409,
  stale: 409,
  already_reading: 409,
  cancelled: 409,
  unsupported: 415,
  invalid_input: 422,
  context_too_long: 422,
  content_filtered: 422,
  too_many_streams: 429,
  rate_limited: 429,
  provider_rate_limited: 429,
  provider_error: 502,
  overloaded: 503,
  provider_overloaded: 503,
  draining: 503,
  unavailable: 503,
  store_unavailable: 503,
  interrupted: 503,
  timeout: 504,
  stalled: 504,
}
/** The wait that a client is advised to, where the error states none. In seconds. */
const RETRY_S = 1

/** An error with a status that its code does not say, such as 405 or 413, and headers of its answer. */
export class HttpError extends MillraceError {
  readonly status: number
  readonly headers: { readonly [name: string]: string }

  constructor(status: number, code: ErrorCode, message: string, headers: { readonly [name: string]: string } = {}) {
    super(code, message)
    this.status = status
    this.headers = headers
  }
}

/** The status with which an error is answered. */
export function statusOf(error: MillraceError): number {
  return error instanceof HttpError ? error.status : (STATUS[error.code] ?? 500)
}

/** The headers that an answer with this error has, besides its type. */
export function errorHeaders(error: MillraceError): { readonly [name: string]: string } {
  const headers: { [name: string]: string } = error instanceof HttpError ? { ...error.headers } : {}
  const status = statusOf(error)
  if (status === 401) headers['www-authenticate'] = 'Bearer'
  if (status === 429 || status === 503) headers['retry-after'] = String(waitSeconds(error))
  return headers
}

/** The answer to a request that failed: a problem of RFC 9457, with the code of the error. */
export function problem(error: MillraceError, limits: Limits): Response {
  const status = statusOf(error)
  const { message, ...data } = errorData(error, limits)
  const body = { type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status, detail: message, ...data }
  return Response.json(body, {
    status,
    headers: { ...errorHeaders(error), 'content-type': 'application/problem+json' },
  })
}

function waitSeconds({ details }: MillraceError): number {
  const { afterMs } = Object(details) as { afterMs?: unknown }
  return typeof afterMs === 'number' ? Math.ceil(afterMs / 1_000) : RETRY_S
}

/** An error as clients of OpenAI's API read it. */
export type OpenAiError = {
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    /** A code of millrace, such as `rate_limited`. */
    readonly code: string
  }
}

/** The types of OpenAI's API for our codes. All others are `server_error`. */
const TYPES: { readonly [code: string]: string } = {
  bad_request: 'invalid_request_error',
  invalid_input: 'invalid_request_error',
  unsupported: 'invalid_request_error',
  not_found: 'invalid_request_error',
  key_conflict: 'invalid_request_error',
  context_too_long: 'invalid_request_error',
  unauthenticated: 'authentication_error',
  forbidden: 'permission_error',
  rate_limited: 'rate_limit_error',
  too_many_streams: 'rate_limit_error',
  provider_rate_limited: 'rate_limit_error',
}

/** Writes an error in that form. */
export function openAiError(code: string, message: string): OpenAiError {
  return { error: { message, type: TYPES[code] ?? 'server_error', param: null, code } }
}

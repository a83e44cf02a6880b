import { type ErrorOptions, MillraceError } from '../../../protocol/errors.ts'
import { isMap } from '../../../protocol/map.ts'
import { LineTooLong } from '../../streams/lines.ts'
import { excerpt, wellFormed } from '../../text.ts'
import { objectIn, textIn, type Wire } from './json.ts'
import { ProviderTimeout } from './timeouts.ts'

/** The parts of an error message that differ by provider. Each advice is a clause in lower case. */
export type ProviderWords = {
  /** The model's name at the provider. */
  model: string
  /** Advice for an unknown model. */
  missing: string
  /** Advice for a refused key. */
  key: string
  /** The key and other texts that no report shows. Default: none. */
  secrets?: readonly string[]
  /** Advice for a provider that cannot be reached. */
  unreachable: string
}

/** Maximum length of what an operator is shown of a response, in UTF-16 units. */
const MAX_BODY_CHARACTERS = 2_000
const REDACTED = '[redacted]'
/** What looks like a key: after a scheme or in an address, with a usual prefix (also masked), or long and random. */
const KEYS =
  /\b(?:Bearer|Basic)\s+[^\s"',]+|(?<=:\/\/)[^\s/@]+@|\b(?:sk|pk|rk|key|api|xai|gsk|hf|nvapi)[-_][\w*.-]{6,}|\bAIza[\w*-]{10,}|[\w-]{40,}/gi

/**
 * An error response of a provider, or an error in the middle of an answer. The provider's text decides the code of the
 * resulting error. It never reaches a client. The operator sees its beginning, without keys.
 */
export class Refusal extends Error {
  override readonly name: string = 'Refusal'
  /** The HTTP status. Undefined for an error in the middle of an answer. */
  readonly status: number | undefined
  /** The wait that the provider asks for, in milliseconds. */
  readonly afterMs: number | undefined
  readonly #text: string
  #secrets: readonly string[] = []

  constructor(status: number | undefined, text: string, afterMs?: number) {
    super(
      status === undefined
        ? 'the provider ended its answer with an error'
        : `the provider answered with status ${status}`,
    )
    this.status = status
    this.afterMs = afterMs
    this.#text = text
  }

  /** The beginning of the provider's text, for the operator. Keys are replaced. Undefined if there is no text. */
  get body(): string | undefined {
    const text = this.#secrets.reduce((text, secret) => text.replaceAll(secret, REDACTED), this.#text)
    const redacted = text.replaceAll(KEYS, REDACTED).trim()
    return redacted === '' ? undefined : wellFormed(excerpt(redacted, MAX_BODY_CHARACTERS))
  }

  /** Hides the key of this request and other texts from `body`, whatever they look like. */
  hide(secrets: readonly string[]): void {
    this.#secrets = secrets
  }

  /** Whether the provider's text matches. */
  says(pattern: RegExp): boolean {
    return pattern.test(this.#text)
  }
}

/** Members in which a provider states an error within a response of status 200, where no answer is. */
const ERROR_MEMBERS = ['errors', 'detail', 'message', 'msg', 'error_msg'] as const

/**
 * The error in a chunk of an answer, if it is one: under `error`, or the chunk as a whole. An HTTP status within it
 * counts like the status of a response.
 */
export function refusalIn(chunk: Wire): Refusal | undefined {
  const { error, object, type, choices, message } = chunk
  const isAnswer = Array.isArray(choices) || isMap(message)
  if (isStated(error)) return refusalOf(error)
  if (object === 'error' || type === 'error') return refusalOf(chunk)
  return !isAnswer && ERROR_MEMBERS.some((name) => isStated(chunk[name])) ? refusalOf(chunk) : undefined
}

function isStated(error: unknown): boolean {
  return (
    (typeof error === 'string' && error !== '') ||
    (typeof error === 'object' && error !== null && Object.keys(error).length > 0)
  )
}

/** The statuses that Anthropic's words for errors stand for. */
const STATUS_OF_TYPE = new Map([
  ['authentication_error', 401],
  ['billing_error', 402],
  ['permission_error', 403],
  ['not_found_error', 404],
  ['request_too_large', 413],
  ['rate_limit_error', 429],
  ['timeout_error', 504],
  ['overloaded_error', 529],
])

function refusalOf(error: unknown): Refusal {
  const { code, status, status_code: statusCode, type } = objectIn(error)
  const number =
    [code, status, statusCode].map(Number).find((given) => given >= 400 && given < 600) ??
    STATUS_OF_TYPE.get(textIn(type))
  return new Refusal(number, JSON.stringify(error))
}

/** The wait in the header `retry-after-ms` or `retry-after` (seconds or a date), in milliseconds. */
export function retryAfterMs(headers: Headers): number | undefined {
  const ms = Number.parseFloat(headers.get('retry-after-ms') ?? '')
  if (ms >= 0) return ms
  const after = headers.get('retry-after') ?? ''
  const seconds = Number(after)
  if (after !== '' && seconds >= 0) return Math.ceil(seconds * 1_000)
  const untilMs = Date.parse(after) - Date.now()
  return untilMs >= 0 ? untilMs : undefined
}

/**
 * Turns an error of a provider's request into a `MillraceError` with a message of millrace's own. The provider's error
 * is its `cause`. A `MillraceError` is returned unchanged.
 */
export function explain(thrown: unknown, words: ProviderWords): MillraceError {
  if (MillraceError.is(thrown)) return thrown
  for (const link of causes(thrown)) {
    if (link instanceof Refusal) return explainRefusal(link, words)
    if (link instanceof ProviderTimeout) {
      return new MillraceError('provider_error', `${link.message}: try again later`, { cause: link })
    }
    if (link instanceof LineTooLong) {
      return new MillraceError('provider_error', 'the provider sent a line that is too long', {
        cause: link,
        retryable: false,
      })
    }
  }
  return explainNetwork(thrown, words)
}

const NO_QUOTA = 'the account at the provider has no quota left: check its billing'

function explainRefusal(refusal: Refusal, words: ProviderWords): MillraceError {
  const { status, afterMs } = refusal
  refusal.hide(words.secrets ?? [])
  const error = (code: MillraceError['code'], message: string, options: ErrorOptions = {}): MillraceError =>
    new MillraceError(code, message, { cause: refusal, ...options })
  const wait = afterMs === undefined ? {} : { details: { afterMs } }

  if (status !== undefined && status >= 300 && status < 400) {
    const message = `the provider redirects the request, which is not followed: ${words.unreachable}`
    return error('provider_error', message, { retryable: false })
  }
  // Not `unauthenticated`: that is about the client's own token.
  if (status === 401 || status === 403) {
    const message = `the provider refused the server's key: ${words.key}`
    return error('provider_error', message, { retryable: false })
  }
  if (status === 402) return error('provider_rate_limited', NO_QUOTA, { retryable: false })
  if (status === 429 || (status === undefined && refusal.says(/rate.?limit|too many requests|quota/i))) {
    // A retry does not help: waiting does not refill an account.
    if (refusal.says(/insufficient_quota|billing/i)) {
      return error('provider_rate_limited', NO_QUOTA, { retryable: false })
    }
    return error('provider_rate_limited', 'the provider limits the rate of requests: try again later', wait)
  }
  if (
    status === 503 ||
    status === 529 ||
    (status === undefined && refusal.says(/overload|capacity|busy|insufficient_system_resource/i))
  ) {
    return error('provider_overloaded', 'the provider is overloaded: try again later', wait)
  }
  if (status !== undefined && (status >= 500 || status === 408 || status === 409 || status === 425)) {
    return error('provider_error', `the provider failed (status ${status}): try again later`, wait)
  }
  if (status === 413 || refusal.says(/context.{0,12}(length|size|window)|too many tokens|prompt is too long/i)) {
    return error('context_too_long', "the conversation exceeds the model's context: shorten it")
  }
  if (refusal.says(/content.?(filter|policy)/i)) {
    return error('content_filtered', "the provider's content filter refused the request: change the prompt")
  }
  if (status === 404 || refusal.says(/model_not_found|model\b.{0,80}\bnot (found|exist)|unknown model/i)) {
    return error('bad_request', `unknown model ${words.model} at the provider: ${words.missing}`)
  }
  const lacking = (['tools', 'thinking'] as const).find((what) => refusal.says(new RegExp(`not support ${what}`, 'i')))
  if (lacking) return error('bad_request', `the model ${words.model} does not support ${lacking}: choose another model`)
  if (status === undefined)
    return error('provider_error', 'the provider ended its answer with an error: try again later')
  return error('bad_request', `the provider refused the request (status ${status}): check the model and its options`)
}

const UNREACHABLE = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT'])

/** The time limits of Node's own `fetch`, which a `fetch` of the application may have. */
const NODE_TIMEOUTS = ['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT']

/** Whether the provider was too slow: it has the request, and may still work on it. */
export function isTimeout(thrown: unknown): boolean {
  return thrown instanceof ProviderTimeout || codesOf(thrown).some((code) => NODE_TIMEOUTS.includes(code))
}

/** Whether the provider refused the request because it was to stream the answer. */
export function isNoToStreaming(thrown: unknown): boolean {
  if (!(thrown instanceof Refusal) || ![400, 403, 404, 405, 422, 501].includes(thrown.status ?? 0)) return false
  const isAboutStreaming = thrown.says(
    /"param":\s*"stream"|\bstream(?:ing)?\b.{0,60}\b(?:not|un)\s?(?:supported|available|allowed)/i,
  )
  return isAboutStreaming || thrown.says(/\b(?:not|n't) support\b.{0,40}\bstream|verified to stream/i)
}

function codesOf(thrown: unknown): string[] {
  return causes(thrown).map((link) => ('code' in link && typeof link.code === 'string' ? link.code : ''))
}

function explainNetwork(thrown: unknown, words: ProviderWords): MillraceError {
  const codes = codesOf(thrown)
  const error = (message: string): MillraceError => new MillraceError('provider_error', message, { cause: thrown })
  if (codes.some((code) => UNREACHABLE.has(code) || code === 'UND_ERR_CONNECT_TIMEOUT')) {
    return error(`the provider cannot be reached: ${words.unreachable}`)
  }
  if (isTimeout(thrown)) {
    return error('the provider did not answer in time: try again later')
  }
  if (codes.some((code) => code !== '')) return error('the connection to the provider was lost: try again later')
  return new MillraceError(
    'provider_error',
    "the provider's answer could not be read: check that its address serves this API",
    {
      cause: thrown,
      retryable: false,
    },
  )
}

/** The error and its chain of causes, outermost first. The errors of several failed addresses follow at the end. */
function causes(thrown: unknown): Error[] {
  const chain: Error[] = []
  for (let link = thrown; link instanceof Error && chain.length < 10; link = link.cause) chain.push(link)
  const last = chain.at(-1)
  if (last instanceof AggregateError) chain.push(...last.errors.filter((error) => error instanceof Error))
  return chain
}

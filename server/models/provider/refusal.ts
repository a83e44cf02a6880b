import { type ErrorOptions, MillraceError } from '../../../protocol/errors.ts'
import { LineTooLong } from '../../streams/lines.ts'

/** What a provider is called and how its operator puts things right: the parts of a message that differ. */
export type ProviderWords = {
  /** The model's name at the provider. */
  model: string
  /** What to do when the model is not there: a clause. */
  missing: string
  /** What to do when the key is refused: a clause. */
  key: string
  /** What to do when nobody answers: a clause. */
  unreachable: string
}

/**
 * A provider said no: with a status, or within an answer that had begun. Its words decide the code of our error and go
 * no further, since they can repeat a key: they are not even shown when the error is printed.
 */
export class Refusal extends Error {
  override readonly name: string = 'Refusal'
  /** The HTTP status; undefined within an answer. */
  readonly status: number | undefined
  /** How long the provider asks to be left alone, in milliseconds. */
  readonly afterMs: number | undefined
  readonly #text: string

  constructor(status: number | undefined, text: string, afterMs?: number) {
    super(status === undefined ? 'the provider broke its answer off' : `the provider answered with status ${status}`)
    this.status = status
    this.afterMs = afterMs
    this.#text = text
  }

  /** Whether the provider's words match. */
  says(pattern: RegExp): boolean {
    return pattern.test(this.#text)
  }
}

/** The time in `retry-after-ms` or `retry-after` (seconds or a date), in milliseconds. */
export function retryAfterMs(headers: Headers): number | undefined {
  const ms = Number.parseFloat(headers.get('retry-after-ms') ?? '')
  if (ms >= 0) return ms
  const after = headers.get('retry-after') ?? ''
  const seconds = Number(after)
  if (after !== '' && seconds >= 0) return Math.ceil(seconds * 1_000)
  const untilMs = Date.parse(after) - Date.now()
  return untilMs >= 0 ? untilMs : undefined
}

/** Turns whatever a provider's request threw into ours, with a message of our own; what was thrown is its `cause`. */
export function explain(thrown: unknown, words: ProviderWords): MillraceError {
  if (MillraceError.is(thrown)) return thrown
  for (const link of causes(thrown)) {
    if (link instanceof Refusal) return explainRefusal(link, words)
    if (link instanceof LineTooLong) {
      return new MillraceError('provider_error', 'the provider sent a line without an end', {
        cause: link,
        retryable: false,
      })
    }
  }
  return explainNetwork(thrown, words)
}

function explainRefusal(refusal: Refusal, words: ProviderWords): MillraceError {
  const { status, afterMs } = refusal
  const error = (code: MillraceError['code'], message: string, options: ErrorOptions = {}): MillraceError =>
    new MillraceError(code, message, { cause: refusal, ...options })
  const wait = afterMs === undefined ? {} : { details: { afterMs } }

  if (status === 401 || status === 403) return error('unauthenticated', `the provider refused the key: ${words.key}`)
  if (status === 429 || (status === undefined && refusal.says(/rate.?limit|too many requests|quota/i))) {
    // An empty account does not fill up by waiting.
    if (refusal.says(/insufficient_quota|billing/i)) {
      return error('provider_rate_limited', 'the account at the provider has no quota left', { retryable: false })
    }
    return error('provider_rate_limited', 'the provider accepts no more requests for now: try again later', wait)
  }
  if (status === 503 || status === 529 || (status === undefined && refusal.says(/overload|capacity|busy/i))) {
    return error('provider_overloaded', 'the provider is overloaded: try again later', wait)
  }
  if (status !== undefined && (status >= 500 || status === 408 || status === 409 || status === 425)) {
    return error('provider_error', `the provider failed (status ${status}): try again later`, wait)
  }
  if (status === 413 || refusal.says(/context.{0,12}(length|size|window)|too many tokens|prompt is too long/i)) {
    return error('context_too_long', 'the conversation is longer than the model can read: shorten it')
  }
  if (refusal.says(/content.?(filter|policy)/i)) {
    return error('content_filtered', 'the provider will not answer this: its content filter refused it')
  }
  if (status === 404 || refusal.says(/model_not_found|model\b.{0,80}\bnot (found|exist)|unknown model/i)) {
    return error('bad_request', `the provider has no model ${words.model}: ${words.missing}`)
  }
  const lacking = (['tools', 'thinking'] as const).find((what) => refusal.says(new RegExp(`not support ${what}`, 'i')))
  if (lacking) return error('bad_request', `the model ${words.model} does not support ${lacking}`)
  if (status === undefined) return error('provider_error', 'the provider broke its answer off with an error')
  return error('bad_request', `the provider refused the request (status ${status})`)
}

const UNREACHABLE = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT'])

function explainNetwork(thrown: unknown, words: ProviderWords): MillraceError {
  const codes = causes(thrown).map((link) => ('code' in link ? String(link.code) : ''))
  const error = (message: string): MillraceError => new MillraceError('provider_error', message, { cause: thrown })
  if (codes.some((code) => UNREACHABLE.has(code) || code === 'UND_ERR_CONNECT_TIMEOUT')) {
    return error(`the provider cannot be reached: ${words.unreachable}`)
  }
  if (codes.includes('UND_ERR_HEADERS_TIMEOUT') || codes.includes('UND_ERR_BODY_TIMEOUT')) {
    return error('the provider was silent for too long')
  }
  if (codes.some((code) => code !== '')) return error('the connection to the provider broke')
  return new MillraceError('provider_error', "the provider's answer could not be read", {
    cause: thrown,
    retryable: false,
  })
}

/** The thrown thing and what it says was behind it, outermost first. Several addresses that failed are one level. */
function causes(thrown: unknown): Error[] {
  const chain: Error[] = []
  for (let link = thrown; link instanceof Error && chain.length < 10; link = link.cause) chain.push(link)
  const last = chain.at(-1)
  if (last instanceof AggregateError) chain.push(...last.errors.filter((error) => error instanceof Error))
  return chain
}

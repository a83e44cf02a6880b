import { isIP } from 'node:net'
import { MillraceError } from '../../protocol/errors.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import { Addresses, type Resolve, refusalWords } from './addresses.ts'
import type { NoticeTarget, SendResult } from './notice-target.ts'
import { type PostResult, post } from './post.ts'
import { NOTICE_TYPES, type NoticeType } from './run-notice.ts'
import { readSecrets, signedHeaders } from './signature.ts'

/** How long a connection may take, of all that an attempt may, in milliseconds. */
const CONNECT_MS = 5_000

/** The options of `webhook`. */
export type WebhookOptions = {
  /** Where notices are sent: `https://...`. `http://...` only to addresses that `allowAddresses` names. */
  url: string
  /**
   * The secret that signs them: `whsec_` and the base64 of 24 to 64 random bytes. Several, while it changes: each signs,
   * and a receiver needs one of them.
   */
  secret: string | readonly string[]
  /** What there are notices of. Default: `run.ended`, `run.needs_you` and `run.budget`. */
  on?: readonly NoticeType[] | undefined
  /** Names of the actors of whose runs there are notices. Default: all. */
  actors?: readonly string[] | undefined
  /**
   * Addresses that are not public and may receive notices all the same, and those that may receive them over plain `http`:
   * `127.0.0.1`, `10.1.0.0/16`, `fd00::/8`. Default: none.
   */
  allowAddresses?: readonly string[] | undefined
  /** The longest that one attempt may take, in milliseconds. At most 60,000. Default 15,000. */
  timeoutMs?: number | undefined
  /** The most attempts at one notice. At most 100. Default 15, which takes about three hours. */
  maxAttempts?: number | undefined
  /** The age at which a notice is given up, in milliseconds. Default 86,400,000: one day. */
  maxAgeMs?: number | undefined
  /** The most notices that wait. Beyond them, the oldest are dropped. At most 1,000,000. Default 10,000. */
  maxPending?: number | undefined
  /** The most attempts of this server at a time. At most 100. Default 4. */
  concurrency?: number | undefined
}

const OPTIONS: OptionKinds<WebhookOptions> = {
  url: 'a string',
  secret: 'anything',
  on: 'a list',
  actors: 'a list',
  allowAddresses: 'a list',
  timeoutMs: 'a number',
  maxAttempts: 'a number',
  maxAgeMs: 'a number',
  maxPending: 'a number',
  concurrency: 'a number',
}

/**
 * Sends notices of runs to a URL: `createServer({ notify: webhook({ url, secret }) })`. Each is one signed POST, after
 * Standard Webhooks. `verifyNotice` of `millrace/notices` checks it.
 * @throws MillraceError `bad_request` for a wrong option. No message has the secret, or the path of the URL.
 */
export function webhook(options: WebhookOptions): NoticeTarget {
  return webhookWith(options)
}

/**
 * The same with another way from names to addresses, for tests.
 * @internal
 */
export function webhookWith(options: WebhookOptions, resolve?: Resolve): NoticeTarget {
  checkOptions('webhook', options, OPTIONS)
  const { on = NOTICE_TYPES, actors, allowAddresses = [], timeoutMs = 15_000 } = options
  const url = readUrl(options.url)
  const keys = readSecrets('webhook', options.secret)
  const wrong = on.find((type) => !NOTICE_TYPES.includes(type))
  if (wrong !== undefined || on.length === 0)
    throw new MillraceError('bad_request', `webhook: on must be a list of ${NOTICE_TYPES.join(', ')}`)
  const isPlain = url.protocol === 'http:'
  const addresses = new Addresses(allowAddresses)
  const literal = url.hostname.replace(/^\[|\]$/g, '')
  // A socket looks no literal address up.
  if (isIP(literal) !== 0 && !addresses.allows(literal, isPlain))
    throw new MillraceError('bad_request', `webhook: ${refusalWords(literal, literal, isPlain)}`)
  const limits = {
    attemptMs: whole('timeoutMs', timeoutMs, 60_000),
    maxAttempts: whole('maxAttempts', options.maxAttempts ?? 15, 100),
    maxAgeMs: whole('maxAgeMs', options.maxAgeMs ?? 86_400_000),
    maxPending: whole('maxPending', options.maxPending ?? 10_000, 1_000_000),
    concurrency: whole('concurrency', options.concurrency ?? 4, 100),
  }
  const lookup = addresses.lookup(isPlain, resolve)
  const connectMs = Math.min(CONNECT_MS, Math.ceil(timeoutMs / 2))
  return {
    limits,
    actors,
    on,
    host: url.host,
    async send({ id, body }, runtime, signal) {
      const signed = signedHeaders(id, runtime.wallClock(), body, keys)
      const headers = { ...signed, 'content-type': 'application/json', 'user-agent': 'millrace' }
      const result = await post({ url, headers, body, lookup, connectMs, answerMs: timeoutMs }, runtime, signal)
      return resultOf(result, runtime.wallClock())
    },
  }
}

function readUrl(text: unknown): URL {
  const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined
  if (!url || !['https:', 'http:'].includes(url.protocol))
    throw new MillraceError('bad_request', 'webhook: url must be the address of a receiver: https://...')
  if (url.username !== '' || url.password !== '')
    throw new MillraceError('bad_request', 'webhook: url must have no user name and no password')
  return url
}

function whole(name: string, value: number, most: number = Number.MAX_SAFE_INTEGER): number {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value
  const range = most === Number.MAX_SAFE_INTEGER ? 'at least 1' : `1 to ${most}`
  throw new MillraceError('bad_request', `webhook: ${name} must be a whole number, ${range}, not ${value}`)
}

function resultOf(result: PostResult, now: number): SendResult {
  if ('failure' in result) return { isSent: false, ...result }
  const { status, retryAfter } = result
  if (status >= 200 && status < 300) return { isSent: true }
  const words = `the receiver answered ${status}`
  if (status >= 300 && status < 400) return { isSent: false, failure: 'redirected', words }
  if (status === 410) return { isSent: false, failure: 'gone', words }
  return { isSent: false, failure: 'rejected', words, afterMs: afterMs(retryAfter, now) }
}

/** What `Retry-After` says: seconds, or a time. */
function afterMs(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - now
  return Number.isFinite(ms) && ms > 0 ? ms : undefined
}

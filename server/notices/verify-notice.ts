import { timingSafeEqual } from 'node:crypto'
import { MillraceError } from '../../protocol/errors.ts'
import { isMap } from '../../protocol/map.ts'
import { checkOptions, type OptionKinds } from '../../protocol/options.ts'
import type { RunNotice } from './run-notice.ts'
import { HEADERS, readSecrets, signatureOf } from './signature.ts'

export type { NoticeEnd, NoticeRequest, NoticeRun, NoticeType, RunNotice } from './run-notice.ts'

/** How far the clock of the sender may be off, in milliseconds. */
const TOLERANCE_MS = 300_000
/** The most signatures of one request that are looked at. */
const MAX_SIGNATURES = 16

/** Headers of a request: of `fetch`, or of `node:http`. */
export type NoticeHeaders =
  | { get(name: string): string | null }
  | { readonly [name: string]: string | readonly string[] | undefined }

/** The options of `verifyNotice`. */
export type VerifyOptions = {
  /** The secret of the sender, `whsec_...`, or several of them: while a secret changes, the old and the new one. */
  secret: string | readonly string[]
  /** How old a request may be, and how far ahead, in milliseconds. Default 300,000: 5 minutes. */
  toleranceMs?: number | undefined
}

const OPTIONS: OptionKinds<VerifyOptions> = { secret: 'anything', toleranceMs: 'a number' }

/** A notice that was verified. */
export type VerifiedNotice = {
  /** The id of the delivery. It is the same each time that the notice is sent again: keep those that you have handled. */
  readonly id: string
  /** The notice. */
  readonly notice: RunNotice
}

/**
 * Checks that a request is a webhook of a server with this secret, and reads it. Call it with the body as it came: parsed
 * and written again, it may differ.
 * @param body The bytes of the body, or the text that they are.
 * @param headers The headers of the request.
 * @throws MillraceError `unauthenticated` for a signature that is missing or wrong, and for a request that is too old:
 *   answer with 401. `bad_request` for a wrong option, and for a body that is no notice.
 */
export function verifyNotice(
  body: string | Uint8Array,
  headers: NoticeHeaders,
  options: VerifyOptions,
): VerifiedNotice {
  checkOptions('verifyNotice', options, OPTIONS)
  const keys = readSecrets('verifyNotice', options.secret)
  const { toleranceMs = TOLERANCE_MS } = options
  // Nothing is further away than NaN: every old request would pass.
  if (!(toleranceMs >= 0))
    throw new MillraceError('bad_request', `verifyNotice: toleranceMs must be 0 or more, not ${toleranceMs}`)
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const id = header(headers, HEADERS.id)
  const timestamp = header(headers, HEADERS.timestamp)
  if (!/^\d{1,12}$/.test(timestamp)) throw refused('the header webhook-timestamp is no time')
  if (Math.abs(Date.now() - Number(timestamp) * 1_000) > toleranceMs)
    throw refused('the request is too old, or a clock is wrong')
  const given = header(headers, HEADERS.signature).split(' ', MAX_SIGNATURES)
  const wanted = keys.map((key) => signatureOf(id, timestamp, bytes, key))
  // All are compared, so that the time tells nothing.
  const matches = given.flatMap((signature) => wanted.filter((each) => isSame(signature, each)))
  if (matches.length === 0) throw refused('no signature is that of the secret')
  return { id, notice: readNotice(bytes) }
}

function isSame(signature: string, wanted: Buffer): boolean {
  if (!signature.startsWith('v1,')) return false
  const bytes = Buffer.from(signature.slice(3), 'base64')
  return bytes.length === wanted.length && timingSafeEqual(bytes, wanted)
}

function header(headers: NoticeHeaders, name: string): string {
  const value: unknown =
    typeof headers.get === 'function' ? headers.get(name) : (headers as Record<string, unknown>)[name]
  if (typeof value !== 'string' || value === '') throw refused(`the header ${name} is missing`)
  return value
}

function readNotice(bytes: Uint8Array): RunNotice {
  let notice: unknown
  try {
    notice = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    notice = undefined
  }
  if (!isMap(notice) || typeof notice['type'] !== 'string' || !isMap(notice['data']))
    throw new MillraceError('bad_request', 'the body is no notice of millrace')
  return notice as RunNotice
}

function refused(why: string): MillraceError {
  return new MillraceError('unauthenticated', `this is no webhook of millrace: ${why}`)
}

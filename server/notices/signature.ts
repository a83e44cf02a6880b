import { createHmac } from 'node:crypto'
import { MillraceError } from '../../protocol/errors.ts'

/** Stands before a secret, as Standard Webhooks has it. */
const PREFIX = 'whsec_'
/** The bytes of a secret: at least, and at most. */
const MIN_BYTES = 24
const MAX_BYTES = 64
/** The most secrets that hold at a time. */
const MAX_SECRETS = 8

/** The headers of a signed request. */
export const HEADERS = { id: 'webhook-id', timestamp: 'webhook-timestamp', signature: 'webhook-signature' } as const

/**
 * Reads secrets.
 * @param of whose option it is, for the message.
 * @throws MillraceError `bad_request`. The message never has the secret.
 */
export function readSecrets(of: string, given: unknown): Buffer[] {
  const secrets: readonly unknown[] = Array.isArray(given) ? given : [given]
  if (secrets.length === 0 || secrets.length > MAX_SECRETS)
    throw new MillraceError('bad_request', `${of}: secret must be one secret, or a list of 1 to ${MAX_SECRETS}`)
  return secrets.map((secret) => {
    const key = typeof secret === 'string' ? keyOf(secret) : undefined
    if (key) return key
    const form = `${PREFIX} and the base64 of ${MIN_BYTES} to ${MAX_BYTES} random bytes`
    const help = `make one with: echo "${PREFIX}$(openssl rand -base64 32)"`
    throw new MillraceError('bad_request', `${of}: secret must be ${form}; ${help}`)
  })
}

function keyOf(secret: string): Buffer | undefined {
  const text = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : ''
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined
  const key = Buffer.from(text, 'base64')
  return key.length < MIN_BYTES || key.length > MAX_BYTES ? undefined : key
}

/** The signature of a message with one key, without its version. @param timestamp in seconds since 1970. */
export function signatureOf(id: string, timestamp: string, body: Uint8Array, key: Buffer): Buffer {
  return createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest()
}

/** The headers of a message, with a signature for each key. */
export function signedHeaders(
  id: string,
  wallClock: number,
  body: Uint8Array,
  keys: readonly Buffer[],
): { [name: string]: string } {
  const timestamp = String(Math.floor(wallClock / 1_000))
  const signatures = keys.map((key) => `v1,${signatureOf(id, timestamp, body, key).toString('base64')}`)
  return { [HEADERS.id]: id, [HEADERS.timestamp]: timestamp, [HEADERS.signature]: signatures.join(' ') }
}

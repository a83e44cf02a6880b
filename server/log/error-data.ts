import type { ErrorShape, MillraceError } from '../../protocol/errors.ts'
import type { WireMap } from '../../protocol/frames.ts'
import { excerpt, excerptBytes, wellFormed } from '../text.ts'
import { type PayloadLimits, packPayload } from './payload.ts'

/** The longest code of an error that is sent, in UTF-16 units. Those of the protocol are shorter. */
const MAX_CODE_CHARACTERS = 64

/**
 * An error as END carries it. It can always be sent with its code and `retryable`, whatever the application put into the
 * error: the message is made well-formed and cut, and details that cannot be sent are left out, which the message says.
 * @param also further members of the END, which can be sent themselves.
 */
export function errorData(error: MillraceError, limits: PayloadLimits, also: WireMap = {}): WireMap {
  const { details, ...plain } = shapeOf(error)
  // The details, and a note that they are left out, still fit beside the longest message.
  const message = excerptBytes(plain.message, Math.floor(limits.maxEvent / 2))
  const bare = { ...plain, message, ...also }
  if (details === undefined) return bare
  const whole = { ...plain, message, details, ...also }
  const fault = faultOf(whole, limits)
  return fault === undefined ? whole : { ...bare, message: `${message} (the details were left out: ${fault})` }
}

/** The members of an error. A foreign class may compute them, and an application may have set them to anything. */
function shapeOf(error: MillraceError): ErrorShape {
  try {
    const shape: { readonly [member in keyof ErrorShape]: unknown } = error.toJSON()
    const { code, message, retryable, details } = shape
    return {
      code: wellFormed(excerpt(String(code), MAX_CODE_CHARACTERS)),
      message: wellFormed(String(message)),
      retryable: Boolean(retryable),
      details,
    }
  } catch {
    return { code: 'internal', message: 'the error could not be read', retryable: false }
  }
}

/** Why a value cannot be sent; undefined when it can. */
function faultOf(value: unknown, limits: PayloadLimits): string | undefined {
  try {
    packPayload(value, limits)
    return undefined
  } catch (error) {
    return (error as MillraceError).message
  }
}

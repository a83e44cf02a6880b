import { CANCEL_CODES, type CancelReason } from '../protocol/receipt.ts'
import type { CancelOptions } from './cancel.ts'

/** How the receipt reports an abort with this reason of an AbortSignal: as `user` if the application gave none. */
export function cancelOf(reason: unknown): CancelOptions {
  try {
    const { name, message } = Object(reason) as Partial<Error>
    if (reason == null || name === 'AbortError') return {}
    const word = name === 'TimeoutError' ? 'timeout' : (reason as CancelReason)
    const note: unknown = message ?? reason
    return Object.hasOwn(CANCEL_CODES, word) ? { reason: word } : { reason: 'unspecified', note: String(note) }
  } catch {
    // A reason may be any object, with getters that throw.
    return { reason: 'unspecified' }
  }
}

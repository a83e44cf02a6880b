import * as CLOSE from './close-code.ts'
import type { Receipt } from './receipt.ts'

/** Codes after which the same input under a new key may succeed. */
const RETRYABLE = [
  'too_many_streams',
  'rate_limited',
  'overloaded',
  'draining',
  'unavailable',
  'timeout',
  'truncated',
  'stalled',
  'interrupted',
  'store_unavailable',
  'provider_error',
  'provider_rate_limited',
  'provider_overloaded',
  'connection_lost',
] as const

/** Every error code there is: those, and the ones after which it will not. */
export type ErrorCode =
  | (typeof RETRYABLE)[number]
  | 'bad_request'
  | 'invalid_input'
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'key_conflict'
  | 'bad_event'
  | 'content_filtered'
  | 'context_too_long'
  | 'tool_failed'
  | 'max_iterations'
  | 'actor_failed'
  | 'budget_exceeded'
  | 'internal'
  | 'cancelled'
  | 'already_reading'

export type ErrorOptions = {
  /** The thing that was thrown. It stays on this side of the wire. */
  cause?: unknown
  /** For the peer: issues of an input, a delay to wait. Must be encodable. */
  details?: unknown
  /** Overrules the code's own answer, where only the cause knows (a provider's errors). */
  retryable?: boolean
  /** With `cancelled`: what the cancel did. */
  receipt?: Receipt
}

/** An error as it travels: the data of an END, a NOTICE, a JSON answer. */
export type ErrorShape = { code: string; message: string; retryable: boolean; details?: unknown }

/** The one error class. Branch on `code`; `message` is for people and says what to do next. */
export class MillraceError extends Error {
  override readonly name: string = 'MillraceError'
  /** A code of the closed list; one that a newer peer made up is kept as it came. */
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly details: unknown
  readonly receipt: Receipt | undefined

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options)
    this.code = code
    this.retryable = options.retryable ?? (RETRYABLE as readonly string[]).includes(code)
    this.details = options.details
    this.receipt = options.receipt
  }

  /**
   * Whether `thing` is one of ours (also from another copy of this module), and of that code if one is named. Never
   * throws: a thrown thing may be a proxy, or have getters that throw.
   */
  static is(thing: unknown, code?: ErrorCode): thing is MillraceError {
    try {
      return (
        thing instanceof Error &&
        thing.name === 'MillraceError' &&
        'code' in thing &&
        (code === undefined || thing.code === code) &&
        'toJSON' in thing
      )
    } catch {
      return false
    }
  }

  /**
   * Turns any thrown thing into ours. What is not ours becomes `fallback` with a message of its own: the text of a
   * foreign error may hold secrets and stays in `cause`. Never throws.
   */
  static from(
    thing: unknown,
    fallback: ErrorCode = 'internal',
    message = 'something went wrong inside',
  ): MillraceError {
    if (MillraceError.is(thing)) return thing
    return new MillraceError(fallback, message, { cause: thing })
  }

  /** The error that a peer described. An unknown code keeps its name and obeys `retryable`. */
  static fromShape(shape: ErrorShape): MillraceError {
    const { code, message, retryable, details } = shape
    return new MillraceError(code as ErrorCode, message, { retryable, details })
  }

  toJSON(): ErrorShape {
    const { code, message, retryable, details } = this
    return { code, message, retryable, ...(details !== undefined && { details }) }
  }
}

/** WebSocket close codes of the protocol. */
export * as CLOSE from './close-code.ts'

/** What a client does after a close: stop for good, come back after a backoff, come back once, or fetch credentials and come back once. */
export type CloseAction = 'stop' | 'resume' | 'resume_once' | 'reauthenticate'

/** Codes of the WebSocket layer after which another try would go the same way. */
const STOP: readonly number[] = [1000, 1002, 1003, 1007, 1009, 1010]
/** Codes from 4400 to 4499 that are no fault of the protocol. */
const RESUME: readonly number[] = [CLOSE.helloTimeout, CLOSE.tooMany, CLOSE.slow]

/** What the protocol asks of a client whose socket was closed with `code`. 4409 is `stop`; its one exception is the connection's to know. */
export function closeAction(code: number): CloseAction {
  if (code === CLOSE.unauthenticated) return 'reauthenticate'
  if (code === CLOSE.sequenceFault) return 'resume_once'
  const isFault = code >= 4400 && code < 4500 && !RESUME.includes(code)
  return isFault || STOP.includes(code) ? 'stop' : 'resume'
}

/** A message that breaks the wire's rules. The connection it came on is closed with `closeCode`; nothing of it was applied. */
export class ProtocolFault extends Error {
  override readonly name: string = 'ProtocolFault'
  readonly closeCode: number

  constructor(message: string, closeCode: number = CLOSE.malformed) {
    super(message)
    this.closeCode = closeCode
  }
}

import * as CLOSE from './close-code.ts'
import type { Receipt } from './receipt.ts'

/** Codes of errors after which the same input, under a new key, may succeed. */
const RETRYABLE = [
  'too_many_streams',
  'rate_limited',
  'overloaded',
  'draining',
  'unavailable',
  'timeout',
  'truncated',
  'invalid_output',
  'stalled',
  'interrupted',
  'store_unavailable',
  'provider_error',
  'provider_rate_limited',
  'provider_overloaded',
  'connection_lost',
] as const

/** All error codes: the retryable ones, and the others. */
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
  | 'stale'
  | 'unsupported'

/** The third argument of `MillraceError`. */
export type ErrorOptions = {
  /** The original error. It is never sent to the peer. */
  cause?: unknown
  /**
   * Data for the peer: the issues of an input, or a delay (`afterMs`). A server leaves out details that cannot be
   * encoded, and the message says so.
   */
  details?: unknown
  /** Replaces the default of the code. For errors whose cause decides, such as a provider's. */
  retryable?: boolean | undefined
  /** The receipt of the cancel. For the code `cancelled`. */
  receipt?: Receipt | undefined
}

/** An error as it is sent: in the data of an END, in a NOTICE, or in JSON. */
export type ErrorShape = {
  /** An `ErrorCode`, or a code of a newer peer. */
  code: string
  /** A text for people, with what to do next. */
  message: string
  /** Whether a new run with the same input may succeed. */
  retryable: boolean
  /** Data, such as the issues of an input. */
  details?: unknown
}

/** The error class of millrace. Branch on `code`. `message` is for people and says what to do next. */
export class MillraceError extends Error {
  override readonly name: string = 'MillraceError'
  /** One of the `ErrorCode`s. An unknown code of a newer peer is kept as received. */
  declare readonly code: ErrorCode
  /** Whether a new run with the same input may succeed. */
  declare readonly retryable: boolean
  /** Data for the peer, such as the issues of an input. */
  declare readonly details: unknown
  /** The receipt of the cancel, for the code `cancelled`. */
  declare readonly receipt: Receipt | undefined

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options)
    this.code = code
    this.retryable = options.retryable ?? (RETRYABLE as readonly string[]).includes(code)
    this.details = options.details
    this.receipt = options.receipt
  }

  /**
   * Returns whether `thing` is a `MillraceError`, also from another copy of this module, and has `code` if one is
   * given; the type of `code` is then that one. It never throws, even for a proxy or for getters that throw.
   */
  static is<const Code extends ErrorCode = ErrorCode>(
    thing: unknown,
    code?: Code,
  ): thing is MillraceError & { readonly code: Code } {
    try {
      return (
        thing instanceof Error &&
        thing.name === 'MillraceError' &&
        'code' in thing &&
        (code ?? thing.code) === thing.code &&
        typeof thing.message === 'string' &&
        'toJSON' in thing
      )
    } catch {
      return false
    }
  }

  /**
   * Turns any thrown value into a `MillraceError`. A foreign error gets the code `fallback` and `message`. Its own text
   * may contain secrets, so it stays in `cause`. This never throws.
   */
  static from(thing: unknown, fallback: ErrorCode = 'internal', message = 'internal error'): MillraceError {
    if (MillraceError.is(thing)) return thing
    return new MillraceError(fallback, message, { cause: thing })
  }

  /** Returns the error that a peer sent. An unknown code is kept; `retryable` is taken as sent. */
  static fromShape({ code, message, retryable, details }: ErrorShape): MillraceError {
    return new MillraceError(code as ErrorCode, message, { retryable, details })
  }

  /** Returns the form that is sent to a peer, without `cause` and `receipt`. */
  toJSON(): ErrorShape {
    const { code, message, retryable, details } = this
    return { code, message, retryable, ...(details !== undefined && { details }) }
  }
}

/** WebSocket close codes of the protocol. */
export * as CLOSE from './close-code.ts'

/**
 * A client's reaction to a close: stop for good, reconnect after a backoff, reconnect once, or fetch new credentials
 * and reconnect once.
 */
export type CloseAction = 'stop' | 'resume' | 'resume_once' | 'reauthenticate'

/** Codes of the WebSocket layer after which another attempt would fail in the same way. */
const STOP: readonly number[] = [1000, 1002, 1003, 1007, 1009, 1010]
/** Codes from 4400 to 4499 that do not report a protocol fault. */
const RESUME: readonly number[] = [CLOSE.helloTimeout, CLOSE.tooMany, CLOSE.slow]

/**
 * Returns the reaction that the protocol asks of a client whose socket was closed with `code`. 4409 is `stop`; the
 * connection itself handles the one exception.
 */
export function closeAction(code: number): CloseAction {
  if (code === CLOSE.unauthenticated) return 'reauthenticate'
  if (code === CLOSE.sequenceFault) return 'resume_once'
  const isFault = code >= 4400 && code < 4500 && !RESUME.includes(code)
  return isFault || STOP.includes(code) ? 'stop' : 'resume'
}

/** A message breaks the protocol. Nothing of it is applied, and its connection is closed with `closeCode`. */
export class ProtocolFault extends Error {
  override readonly name: string = 'ProtocolFault'
  /** The WebSocket close code for the connection. */
  readonly closeCode: number

  constructor(message: string, closeCode: number = CLOSE.malformed) {
    super(message)
    this.closeCode = closeCode
  }
}

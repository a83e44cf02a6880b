import { type ErrorCode, MillraceError } from '../../protocol/errors.ts'

/** The exit codes of the command line. */
export const EXIT = {
  /** It did what it was asked: the run is done, the server has drained. */
  ok: 0,
  /** The run failed, or somebody else stopped it. */
  failed: 1,
  /** What was asked cannot be done: an option, the config file, the actor's name or its input. */
  usage: 2,
  /** No connection: nobody there, credentials refused, port in use, server gone. */
  unreachable: 3,
  /** Ctrl-C stopped it. */
  interrupted: 130,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** How the help and the README explain them. */
export const EXIT_CODES: readonly (readonly [ExitCode, string])[] = [
  [EXIT.ok, 'done'],
  [EXIT.failed, 'the run failed, or was stopped by somebody else'],
  [EXIT.usage, 'a wrong option, config file, actor, run or input'],
  [EXIT.unreachable, 'no connection: nobody there, token refused, port in use, server gone'],
  [EXIT.interrupted, 'stopped with Ctrl-C'],
]

/** Why a command ends early: one line for the person who typed it, and the exit code. */
export class Failure extends Error {
  override readonly name: string = 'Failure'
  readonly exitCode: ExitCode

  constructor(exitCode: ExitCode, message: string, cause?: unknown) {
    super(message, { cause })
    this.exitCode = exitCode
  }
}

const UNREACHABLE: ReadonlySet<ErrorCode> = new Set([
  'connection_lost',
  'unauthenticated',
  'forbidden',
  'unavailable',
  'draining',
])
const USAGE: ReadonlySet<ErrorCode> = new Set(['bad_request', 'invalid_input', 'not_found', 'key_conflict'])

/** What a thrown thing means for a command that has not begun what it was asked for. */
export function refusal(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown
  const { code, message } = MillraceError.from(thrown, 'internal', messageOf(thrown))
  const exitCode = UNREACHABLE.has(code) ? EXIT.unreachable : USAGE.has(code) ? EXIT.usage : EXIT.failed
  return new Failure(exitCode, message, thrown)
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message || thrown.name : String(thrown)
}

/** Where a thrown thing came from, as far as its stack tells a file outside Node: ` (actors.mjs:3)`. */
export function placeOf(thrown: unknown): string {
  const stack = thrown instanceof Error ? (thrown.stack ?? '') : ''
  const place = /(?:file:\/\/|\()(\/[^\s():]+:\d+)/.exec(stack)?.[1]
  return place === undefined ? '' : ` (${place.slice(place.lastIndexOf('/') + 1)})`
}

import { type ErrorCode, MillraceError } from '../../protocol/errors.ts'

/** The exit codes of the command line. */
export const EXIT = {
  /** The command succeeded: the run is done, or the server has drained. */
  ok: 0,
  /** The run failed, or another client or the server cancelled it. Or stored data is damaged. */
  failed: 1,
  /** An option, the config file, the actor, the run or the input is wrong, or a package is missing: to repeat it is of no use. */
  usage: 2,
  /** No connection: server not reachable or lost, token refused, port or stored data in use. */
  unreachable: 3,
  /** Ctrl-C ended the command. */
  interrupted: 130,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** The explanation of each exit code in the help and the README. */
export const EXIT_CODES: readonly (readonly [ExitCode, string])[] = [
  [EXIT.ok, 'done'],
  [EXIT.failed, 'the run failed, or was cancelled by another client or the server; or stored data is damaged'],
  [EXIT.usage, 'a wrong option, config file, actor, run or input; or a missing package'],
  [EXIT.unreachable, 'no connection: server not reachable or lost, token refused, port or stored data in use'],
  [EXIT.interrupted, 'ended with Ctrl-C'],
]

/** The reason why a command ends early: one line for the user, and the exit code. */
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

/** How the cause of an error begins when what is stored is damaged. */
const DAMAGE = /^SQLITE_(CORRUPT|NOTADB)/

/** Turns an error from before a command has started its work into a failure with an exit code. */
export function refusal(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown
  const { code, message, retryable } = MillraceError.from(thrown, 'internal', messageOf(thrown))
  if (code === 'store_unavailable') return new Failure(storeExit(retryable, thrown), message, thrown)
  const exitCode = UNREACHABLE.has(code) ? EXIT.unreachable : USAGE.has(code) ? EXIT.usage : EXIT.failed
  return new Failure(exitCode, message, thrown)
}

/** The exit code when a store cannot be used. */
function storeExit(retryable: boolean, thrown: unknown): ExitCode {
  // One that is in use may be free later.
  if (retryable) return EXIT.unreachable
  // The cause of an error of the server does not travel: this one is of a store that the options or the config file name.
  const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause.message : undefined
  return cause === undefined || DAMAGE.test(cause) ? EXIT.failed : EXIT.usage
}

/** The message of any thrown value. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message || thrown.name : String(thrown)
}

/** The file and line of the first stack frame outside Node, such as ` (actors.mjs:3)`. Empty if the stack has none. */
export function placeOf(thrown: unknown): string {
  const stack = thrown instanceof Error ? (thrown.stack ?? '') : ''
  const place = /(?:file:\/\/|\()(\/[^\s():]+:\d+)/.exec(stack)?.[1]
  return place === undefined ? '' : ` (${place.slice(place.lastIndexOf('/') + 1)})`
}

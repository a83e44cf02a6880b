import { MillraceError } from '../../protocol/errors.ts'

/** The end of a run whose actor threw `thrown`. The run itself was not stopped. */
export function actorFailure(thrown: unknown, actorName: string): MillraceError {
  // `cancelled` is not the stop of this run here, which is no failure: a child of it was stopped.
  if (MillraceError.is(thrown, 'cancelled'))
    return new MillraceError(
      'actor_failed',
      'a child of this run was cancelled, and its actor did not go on without it',
    )
  return MillraceError.from(thrown, 'actor_failed', `actor ${actorName} failed; the server's log says why`)
}

/** Whether an error comes from an abort: the reason of our signal, or a library's own abort error. */
export function isAbort(error: unknown): boolean {
  if (MillraceError.is(error)) return true
  try {
    return error instanceof Error && /abort/i.test(`${error.name} ${error.constructor.name}`)
  } catch {
    // Anything can be thrown, also an object whose getters throw.
    return false
  }
}

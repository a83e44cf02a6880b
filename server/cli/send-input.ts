import { MillraceError } from '../../protocol/errors.ts'
import { EXIT, type ExitCode, Failure, refusal } from './exit.ts'
import type { Output } from './output.ts'
import { Remote, type RemoteValues } from './remote.ts'

/**
 * Sends an input to an existing run, and prints that the run has accepted it.
 * @throws Failure when it has not.
 */
export async function sendInput(
  run: string,
  type: string,
  data: unknown,
  values: RemoteValues,
  output: Output,
): Promise<ExitCode> {
  await using remote = new Remote(values, output)
  // Nothing of the run is read, so it needs no credit, and this reader holds nobody back.
  const view = remote.client.attach('', run, { after: 'live', policy: 'log', credit: 0 })
  await remote.opened(view)
  try {
    await view.send(type, data)
  } catch (error) {
    throw MillraceError.is(error, 'connection_lost') && (await hasEnded(view))
      ? new Failure(EXIT.failed, 'not accepted: the run has ended', error)
      : notTaken(error)
  }
  await output.answer('accepted\n')
  return EXIT.ok
}

/** Whether its stream ended with the run, and not with the connection. */
function hasEnded(view: { readonly end: Promise<unknown> }): Promise<boolean> {
  return view.end.then(
    () => true,
    () => false,
  )
}

function notTaken(error: unknown): Failure {
  if (MillraceError.is(error, 'overloaded') || MillraceError.is(error, 'not_found'))
    return new Failure(EXIT.failed, `not accepted: ${error.message}`, error)
  if (MillraceError.is(error, 'forbidden'))
    return new Failure(EXIT.failed, 'not accepted: this token may observe the run, but not send to it', error)
  return refusal(error)
}

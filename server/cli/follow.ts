import type { CancelResult, Run } from '../../client-sdk/node.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { Policy } from '../../protocol/frames.ts'
import { type ApprovalMode, Approvals } from './approvals.ts'
import { EXIT, type ExitCode, Failure, refusal } from './exit.ts'
import { onInterrupt } from './interrupts.ts'
import { receiptOf } from './late-receipt.ts'
import type { Output } from './output.ts'
import { Reading } from './reading.ts'
import { cancelWords, receiptWords } from './receipt-words.ts'
import type { Remote } from './remote.ts'

const NOT_OPENED = 'no run was opened'

export type FollowOptions = {
  /** Whether text is printed as it arrives. If false, the result is printed at the end. */
  stream: boolean
  /** The effect of Ctrl-C: cancels the run, or only detaches from it. */
  interrupt: 'cancel' | 'detach'
  /** How requests for approval are answered. */
  approvals: ApprovalMode
  /** The first item that is shown. Default: 1. */
  from?: number
  /** The policy of the reader, for the command that reads on. Default: that of `attach`. */
  policy?: Policy | undefined
  /** Whether the run ends with this process, so that no other command reaches it. Default false. */
  isOwn?: boolean
}

/**
 * Prints a run to its end. Ctrl-C cancels it or detaches from it; a second Ctrl-C exits at once, without the receipt. A
 * closed stdout has the effect of one Ctrl-C.
 * @returns The exit code.
 * @throws Failure when the run fails, or the client gives up reconnecting.
 */
export async function follow(
  run: Run,
  remote: Remote,
  output: Output,
  { stream, interrupt, approvals, from = 1, policy, isOwn = false }: FollowOptions,
): Promise<ExitCode> {
  let left: 'interrupted' | 'unread' | 'lost' | undefined
  let cancelled: Promise<CancelResult> | undefined
  const leave = (why: typeof left): void => {
    left ??= why
    if (why === 'lost' || interrupt === 'detach') run.detach()
    else cancelled ??= receiptOf(run.cancel(), remote, output)
  }
  const unread = (): void => leave('unread')
  const lost = (): void => leave('lost')
  const forgetInterrupts = onInterrupt((times) => {
    if (times > 1) {
      output.fail(isOwn ? 'quit at once' : `quit at once; ${cancelHint(run, remote)}`)
      process.exit(EXIT.interrupted)
    }
    leave('interrupted')
    if (cancelled) output.busy('cancelling; press Ctrl-C again to quit at once')
  })
  output.gone.addEventListener('abort', unread)
  remote.givenUp.addEventListener('abort', lost)

  const reading = new Reading(output, stream)
  const answering = new Approvals(run, output, approvals)
  let isOpened = false
  try {
    const { id } = await remote.opened(run)
    isOpened = true
    output.note(`run ${id}`)
    output.busy('waiting for the first token')
    for await (const event of run) {
      if (event.seq < from) continue
      await reading.show(event)
      answering.take(event)
    }
    if (!left) await reading.finish(run)
  } catch (error) {
    if (!left) {
      forgetInterrupts()
      throw runFailure(error, isOpened, remote)
    }
  } finally {
    answering.close()
    output.gone.removeEventListener('abort', unread)
    remote.givenUp.removeEventListener('abort', lost)
  }

  const result = await cancelled
  await output.endAnswer()
  forgetInterrupts()
  switch (left) {
    case undefined:
      return EXIT.ok
    case 'lost':
      throw new Failure(EXIT.unreachable, `the server did not come back; ${readOnHint(run, remote, policy)}`)
    case 'unread':
      return unreadExit(output)
    case 'interrupted':
      for (const line of result ? cancelWords(result) : [`detached; ${cancelHint(run, remote)}`]) output.note(line)
      return EXIT.interrupted
  }
}

/** The exit code when stdout is closed. A pipe whose reader has exited is not a failure; any other error is. */
export function unreadExit(output: Output): ExitCode {
  const reason: unknown = output.gone.reason
  const code = reason instanceof Error && 'code' in reason ? String(reason.code) : ''
  if (code !== 'EPIPE') throw new Failure(EXIT.failed, `cannot write to stdout (${code})`, reason)
  return EXIT.ok
}

/** Tells the user which command cancels a run that may go on. */
function cancelHint({ id }: Run, remote: Remote): string {
  if (id === undefined) return NOT_OPENED
  return `the run may go on; cancel it with: ${remote.command('cancel', id)}`
}

/** Tells the user which command reads on. */
function readOnHint({ id, position }: Run, remote: Remote, policy: Policy | undefined): string {
  if (id === undefined) return NOT_OPENED
  const how = policy === undefined ? [] : ['--policy', policy]
  return `the run may go on; read on with: ${remote.command('attach', id, '--after', position?.seq ?? 0, ...how)}`
}

function runFailure(thrown: unknown, isOpened: boolean, remote: Remote): Failure {
  if (thrown instanceof Failure) return thrown
  const error = MillraceError.from(thrown)
  const { code, message, receipt } = error
  if (code === 'cancelled' && receipt) {
    const who = receipt.by === 'client' ? 'another client' : `the ${receipt.by}`
    return new Failure(EXIT.failed, `${who} ended the run: ${receiptWords(receipt).join('; ')}`, error)
  }
  if (code === 'connection_lost' || remote.client.status === 'closed')
    return new Failure(EXIT.unreachable, `the connection is closed: ${message}`, error)
  if (!isOpened || code === 'invalid_input') return refusal(error)
  if (code === 'not_found' && remote.cameBack)
    return new Failure(EXIT.failed, 'the server no longer has this run, as after a restart: start it again', error)
  return new Failure(EXIT.failed, `the run failed: ${message} (${code})`, error)
}

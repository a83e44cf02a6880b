import type { CancelResult, Run } from '../../client-sdk/node.ts'
import { MillraceError } from '../../protocol/errors.ts'
import { type ApprovalMode, Approvals } from './approvals.ts'
import { EXIT, type ExitCode, Failure, refusal } from './exit.ts'
import { onInterrupt } from './interrupts.ts'
import { invocation } from './invocation.ts'
import type { Output } from './output.ts'
import { Reading } from './reading.ts'
import { cancelWords, receiptWords } from './receipt-words.ts'
import type { Remote } from './remote.ts'

export type FollowOptions = {
  /** Shows text as it comes; else what the run resolves with, at its end. */
  stream: boolean
  /** What Ctrl-C does: stops the run, or only leaves it. */
  interrupt: 'cancel' | 'detach'
  /** What becomes of a request for approval. */
  approvals: ApprovalMode
}

/**
 * Shows a run to its end. Ctrl-C stops it, a second one leaves without waiting for the receipt. It is also stopped when
 * nobody reads stdout any more.
 * @throws Failure when the run fails, or the connection is given up.
 */
export async function follow(
  run: Run,
  remote: Remote,
  output: Output,
  { stream, interrupt, approvals }: FollowOptions,
): Promise<ExitCode> {
  let left: 'interrupted' | 'unread' | 'lost' | undefined
  let cancelled: Promise<CancelResult> | undefined
  const leave = (why: typeof left): void => {
    left ??= why
    if (why === 'lost' || interrupt === 'detach') run.detach()
    else cancelled ??= run.cancel()
  }
  const unread = (): void => leave('unread')
  const lost = (): void => leave('lost')
  const forgetInterrupts = onInterrupt((times) => {
    if (times > 1) {
      output.fail(`left at once; ${goesOn(run, 'stop')}`)
      process.exit(EXIT.interrupted)
    }
    leave('interrupted')
    if (cancelled) output.busy('stopping; Ctrl-C again leaves at once')
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
      throw new Failure(EXIT.unreachable, `the server did not come back; ${goesOn(run, 'attach')}`)
    case 'unread':
      return unreadExit(output)
    case 'interrupted':
      for (const line of result ? cancelWords(result) : [`left it; ${goesOn(run, 'stop')}`]) output.note(line)
      return EXIT.interrupted
  }
}

/** A reader of a pipe that has seen enough is no failure. */
export function unreadExit(output: Output): ExitCode {
  const reason: unknown = output.gone.reason
  const code = reason instanceof Error && 'code' in reason ? String(reason.code) : ''
  if (code !== 'EPIPE') throw new Failure(EXIT.failed, `the answer cannot be written (${code})`, reason)
  return EXIT.ok
}

/** What to type for a run that may go on. */
function goesOn(run: Run, act: 'stop' | 'attach'): string {
  if (run.id === undefined) return 'no run was opened'
  if (act === 'stop') return `the run may go on; stop it with: ${invocation()} cancel ${run.id}`
  return `the run may go on; come back to it with: ${invocation()} attach ${run.id} --after ${run.position?.seq ?? 0}`
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
    return new Failure(EXIT.unreachable, `the connection is over: ${message}`, error)
  if (!isOpened || code === 'invalid_input') return refusal(error)
  if (code === 'not_found' && remote.cameBack)
    return new Failure(EXIT.failed, 'the server came back without this run, as after a restart: start it again', error)
  return new Failure(EXIT.failed, `the run failed: ${message} (${code})`, error)
}

import { MillraceError } from '../../protocol/errors.ts'
import { CANCEL_CODES, type CancelCause, type Receipt, type Sent } from '../../protocol/receipt.ts'

/** The largest code of a cancel. */
const MAX_CODE = 255

/** Why a run is stopped before its actor has finished. */
export type StopCause = CancelCause & {
  outcome: 'cancelled' | 'error'
  error: MillraceError
  note?: string | undefined
}

/** Somebody wants the run no longer. */
export function cancelledBy(why: CancelCause): StopCause {
  return { ...why, outcome: 'cancelled', error: why.by === 'client' && !why.note ? nextError() : cancelled(why) }
}

function cancelled({ by, note }: Pick<CancelCause, 'by' | 'note'>): MillraceError {
  return withoutStack(() => new MillraceError('cancelled', `cancelled by the ${by}${note ? `: ${note}` : ''}`))
}

/**
 * The error of the next cancel by a client that says no more. To make one takes long while nothing that makes it is in a
 * cache of the processor, and a cancel is rare. So it is made behind the cancel before.
 */
let next: MillraceError | undefined
const makeNext = (): void => {
  next ??= cancelled({ by: 'client' })
}

function nextError(): MillraceError {
  const error = next ?? cancelled({ by: 'client' })
  next = undefined
  void Promise.resolve().then(makeNext)
  return error
}

/** Its stack would show nothing but the server, and recording it is expensive. */
function withoutStack(make: () => MillraceError): MillraceError {
  const { stackTraceLimit } = Error
  // It cannot be set where the application has frozen what is built in: the stack is recorded then.
  Reflect.set(Error, 'stackTraceLimit', 0)
  try {
    return make()
  } finally {
    Reflect.set(Error, 'stackTraceLimit', stackTraceLimit)
  }
}

/** The server does not let the run go on. */
export function stoppedWith(error: MillraceError): StopCause {
  return { outcome: 'error', error, by: 'server', code: CANCEL_CODES.unspecified }
}

/** The receipt of a run that nobody executes: there is nothing to stop. @param kept the last item of its log. */
export function receiptOfNone({ by, code, note }: CancelCause, kept: number, usage: Receipt['usage']): Sent<Receipt> {
  const receipt: Sent<Receipt> = {
    code,
    by,
    settled: true,
    unsettled: [],
    provider: 'none',
    tools: [],
    kept,
    ms: 0,
  }
  if (usage) receipt.usage = usage
  if (note !== undefined) receipt.note = note
  return receipt
}

/** The cause of a cancel by a client. A larger code than there is counts as the largest. */
export function byClient(code: number, note: string | undefined, cascade = true): CancelCause {
  return { by: 'client', code: Math.min(code, MAX_CODE), note, cascade }
}

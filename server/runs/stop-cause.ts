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
  const message = `cancelled by the ${why.by}${why.note ? `: ${why.note}` : ''}`
  return { ...why, outcome: 'cancelled', error: withoutStack(() => new MillraceError('cancelled', message)) }
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

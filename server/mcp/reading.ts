import { MillraceError } from '../../protocol/errors.ts'
import type { RunEnd, StreamEvent } from '../../protocol/events.ts'
import { excerptBytes } from '../text.ts'
import type { ClientRun } from './run-client.ts'

/** The most text of a run that one answer has, in bytes of UTF-8. */
const MAX_TEXT_BYTES = 65_536

/** A question that a run waits with. */
export type Waiting = {
  readonly request: string
  readonly kind: string
  readonly prompt?: string
  readonly schema?: unknown
  /** The tool call that it is about. */
  readonly call?: string
}

/** What was read of a run, up to its end, a question, or the moment at which the reader left. */
export type Reading = {
  /** The text of the answer, without that of sub-agents. */
  readonly text: string
  /** The number of the last item that was read. */
  readonly seq: number
  /** The question that the run waits with. */
  readonly waiting?: Waiting
  readonly end?: RunEnd
}

/** What becomes of what is read. */
export type ReadingCallbacks = {
  /** One more event was read. */
  readonly onEvent?: (event: StreamEvent) => void
  /**
   * The run asks something. Reading waits for this.
   * @returns whether it is to go on. Default: it does not.
   */
  readonly onQuestion?: (question: Waiting, seq: number) => boolean | Promise<boolean>
}

/** Reads a run until it ends or asks something, or until `signal` aborts. It then detaches, and the run goes on. */
export async function readRun(
  run: ClientRun,
  signal: AbortSignal,
  { onEvent, onQuestion }: ReadingCallbacks = {},
): Promise<Reading> {
  const leave = (): void => run.detach()
  if (signal.aborted) leave()
  signal.addEventListener('abort', leave, { once: true })
  let text = ''
  let seq = 0
  let waiting: Waiting | undefined
  try {
    for await (const event of run) {
      seq = Math.max(seq, event.seq)
      // One byte or more each: what is beyond the limit would be cut off.
      if (event.type === 'token' && event.agent === undefined && text.length <= MAX_TEXT_BYTES) text += event.text
      onEvent?.(event)
      if (event.type !== 'request') continue
      const question = waitingOf(event)
      if (await onQuestion?.(question, event.seq)) continue
      waiting = question
      // Not with `break`, which would cancel a run that was started here.
      leave()
    }
  } catch (error) {
    // The end of the run says it better.
    if (!MillraceError.is(error)) throw error
  } finally {
    signal.removeEventListener('abort', leave)
  }
  const read = { text: excerptBytes(text, MAX_TEXT_BYTES), seq }
  if (waiting) return { ...read, waiting }
  const end = signal.aborted ? undefined : await run.end.catch(() => undefined)
  return end ? { ...read, end } : read
}

function waitingOf({ id: request, kind, prompt, schema, call }: Extract<StreamEvent, { type: 'request' }>): Waiting {
  return {
    request,
    kind,
    ...(prompt !== undefined && { prompt }),
    ...(schema !== undefined && { schema }),
    ...(call !== undefined && { call }),
  }
}

import { MillraceError } from '../../protocol/errors.ts'
import type { Question } from '../actors/question.ts'
import { excerpt, wellFormed } from '../text.ts'

/** Maximum length of a note, and of the arguments that a prompt quotes, in UTF-16 units. */
const MAX_NOTE_CHARACTERS = 1_000
const MAX_QUOTED_CHARACTERS = 200

/** JSON Schema of the answer to a request for approval. */
const SCHEMA = {
  type: 'object',
  properties: {
    ok: { type: 'boolean' },
    note: { type: 'string' },
    args: { type: 'object' },
    remember: { type: 'boolean' },
  },
  required: ['ok'],
} as const

/** How a call was approved. */
export type Approval = {
  /** The arguments in place of those of the model, if the approver has changed them. */
  readonly args: unknown
  /** Later calls of the tool in this run need no approval. */
  readonly remember: boolean
}

/** The call that needs approval, and the rules of its tool. */
export type ApprovalRequest = Required<Pick<Question, 'call' | 'expiresMs' | 'signal' | 'who'>> & {
  readonly name: string
  readonly args: unknown
}

/**
 * Asks the people attached to a run for the approval of a call.
 * @throws MillraceError `tool_failed` for a refusal, and when nobody answers in time; the reason of a stop.
 */
export async function approvalOf(
  ask: (question: Question) => Promise<unknown>,
  { name, args, call, expiresMs, signal, who }: ApprovalRequest,
): Promise<Approval> {
  const prompt = `Allow ${name} ${wellFormed(excerpt(JSON.stringify(args) ?? '', MAX_QUOTED_CHARACTERS))}?`
  const question: Question = { kind: 'approve', call, prompt, schema: SCHEMA, expiresMs, signal, who }
  const answer = await ask(question).catch((error: unknown) => {
    if (!MillraceError.is(error, 'timeout')) throw error
    throw new MillraceError('tool_failed', `no answer to the request for approval within ${String(expiresMs)} ms`)
  })
  const { ok, note, args: changed, remember } = answerOf(answer)
  if (ok === true) return { args: changed, remember: remember === true }
  const why = typeof note === 'string' && note !== '' ? `: ${wellFormed(excerpt(note, MAX_NOTE_CHARACTERS))}` : ''
  throw new MillraceError('tool_failed', `refused by the user${why}`)
}

/** An answer is the map of an `approve` input, or any value of an `answer` input. */
function answerOf(answer: unknown): { [name: string]: unknown } {
  return typeof answer === 'object' && answer !== null ? (answer as { [name: string]: unknown }) : { ok: answer }
}

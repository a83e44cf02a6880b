import type { ElicitRequestFormParams, ElicitResult } from '@modelcontextprotocol/client'
import { MillraceError } from '../../../protocol/errors.ts'
import { isMap } from '../../../protocol/map.ts'
import type { Question } from '../../actors/question.ts'
import { excerpt, wellFormed } from '../../text.ts'

const MAX_PROMPT_CHARACTERS = 1_000
const MAX_SCHEMA_BYTES = 16_384

/** Asks the clients that are attached to the run of a call. */
export type Ask = (question: Question) => Promise<unknown>

const CANCELLED: ElicitResult = { action: 'cancel' }

/**
 * Asks people for what an MCP server wants to know, as a question of kind `form`, and turns the answer into the server's
 * terms. An object is the content of the form; `null`, `false` and `{ ok: false }` decline it.
 */
export async function elicit(ask: Ask, asked: unknown): Promise<ElicitResult> {
  const question = questionOf(asked)
  if (question === undefined) return CANCELLED
  try {
    return resultOf(await ask(question))
  } catch (error) {
    // The run is over, or its call is. The server need not know which.
    if (MillraceError.is(error)) return CANCELLED
    throw error
  }
}

/** Undefined for a request that is no form, or is too large for one: nobody could answer it. */
function questionOf(asked: unknown): Question | undefined {
  const { mode = 'form', message, requestedSchema } = (asked ?? {}) as Partial<ElicitRequestFormParams>
  if (mode !== 'form' || typeof message !== 'string') return undefined
  if (Buffer.byteLength(JSON.stringify(requestedSchema ?? null)) > MAX_SCHEMA_BYTES) return undefined
  return { kind: 'form', prompt: wellFormed(excerpt(message, MAX_PROMPT_CHARACTERS)), schema: requestedSchema }
}

function resultOf(answer: unknown): ElicitResult {
  if (!isMap(answer)) return answer === true ? { action: 'accept', content: {} } : { action: 'decline' }
  const { ok, note: _, ...others } = answer
  // An input of type `approve` answers it as well: with `ok` and a note, and nothing else.
  const isDecision = typeof ok === 'boolean' && Object.keys(others).length === 0
  if (isDecision) return ok ? { action: 'accept', content: {} } : { action: 'decline' }
  return { action: 'accept', content: answer as ElicitResult['content'] & object }
}

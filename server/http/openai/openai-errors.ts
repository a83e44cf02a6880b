import { openAiError } from '../../../formats/openai-error.ts'
import { statusOf } from '../problem.ts'
import type { ErrorForm } from '../route.ts'

/** Answers with an error as OpenAI's API does. */
export const openAiErrors: ErrorForm = (error) =>
  Response.json(openAiError(error.code, error.message), { status: statusOf(error) })

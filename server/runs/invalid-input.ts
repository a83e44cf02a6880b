import { MillraceError } from '../../protocol/errors.ts'
import type { Issue } from '../actors/standard-schema.ts'
import { excerpt } from '../text.ts'

/** Issues that a refusal lists, and steps of the path of each. */
const MAX_ISSUES = 20
/** The longest text in such a list. */
const MAX_ISSUE_CHARACTERS = 200

/** The refusal of an input that its schema rejects, with the schema's issues. */
export function invalidInput(issues: readonly Issue[]): MillraceError {
  // A schema may quote the keys of its input, which are as long as a client likes.
  const details = issues.slice(0, MAX_ISSUES).map(({ message, path }) => ({
    message: excerpt(message, MAX_ISSUE_CHARACTERS),
    path: (path ?? [])
      .slice(0, MAX_ISSUES)
      .map((step) => (typeof step === 'object' ? step.key : step))
      .map((step) => (typeof step === 'number' ? step : excerpt(String(step), MAX_ISSUE_CHARACTERS))),
  }))
  const first = details[0]
  const where = first && first.path.length > 0 ? ` at ${first.path.join('.')}` : ''
  const message = `the input does not fit: ${first?.message ?? 'rejected by its schema'}${where}`
  return new MillraceError('invalid_input', message, { details })
}

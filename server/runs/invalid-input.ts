import { MillraceError } from '../../protocol/errors.ts'
import type { Issue } from '../actors/standard-schema.ts'
import { excerpt } from '../text.ts'

/** The most issues that a refusal lists, and the most steps of the path of each. */
const MAX_ISSUES = 20
/** The longest text in this list, in characters. */
const MAX_ISSUE_CHARACTERS = 200

/** The error for an input that its schema rejects. `details` are the schema's issues. */
export function invalidInput(issues: readonly Issue[]): MillraceError {
  // A schema may quote keys of the input, and a client chooses their length.
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

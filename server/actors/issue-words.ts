import type { Issue } from './standard-schema.ts'

/** The most issues that are named. */
const MAX_ISSUES = 5

/** The first issues of a schema, in words for a model: where each is, and what is wrong there. */
export function issueWords(issues: readonly Issue[]): string[] {
  return issues.slice(0, MAX_ISSUES).map(({ message, path = [] }) => {
    const where = path.map((step) => String(typeof step === 'object' ? step.key : step)).join('.')
    return where === '' ? message : `${where}: ${message}`
  })
}

import { readFileSync } from 'node:fs'
import { parseSchema, type Schema, withoutRules } from './cddl.ts'

/** `protocol/millrace.cddl`: what the wire may carry. */
export const schema: Schema = parseSchema(
  readFileSync(new URL('../../protocol/millrace.cddl', import.meta.url), 'utf8'),
)

/** What this version says, and nothing more: what a sender writes. */
export const exact: Schema = withoutRules(schema, 'more-elements', 'more-keys', 'more-limits')

import type { CallToolResult } from '@modelcontextprotocol/server'
import { MillraceError } from '../../protocol/errors.ts'
import type { RunEnd } from '../../protocol/events.ts'
import { isMap } from '../../protocol/map.ts'

/** A result that is a text, or data: as JSON for the model, and as structured content for the program. */
export function resultOf(value: unknown): CallToolResult {
  if (typeof value === 'string') return { content: [{ type: 'text', text: value }] }
  const content: CallToolResult['content'] = [{ type: 'text', text: JSON.stringify(value) ?? 'null' }]
  return isMap(value) ? { content, structuredContent: value } : { content }
}

/** A result that says what went wrong. */
export function failureOf(error: unknown): CallToolResult {
  const { code, message, details } = MillraceError.from(error)
  const more = details === undefined ? '' : `\n${JSON.stringify(details)}`
  return { isError: true, content: [{ type: 'text', text: `${code}: ${message}${more}` }] }
}

/** The result of a run that has ended: what its actor returned, or else its text. */
export function endOf(end: RunEnd, text: string): CallToolResult {
  if (end.outcome === 'done') return resultOf(end.result ?? text)
  if (end.outcome === 'cancelled') return failureOf(new MillraceError('cancelled', 'the run was cancelled'))
  return failureOf(end.error ?? new MillraceError('internal', `the run ended as ${end.outcome}`))
}

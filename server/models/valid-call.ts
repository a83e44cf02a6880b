import { isMap } from '../../protocol/map.ts'
import type { ToolCall } from './model.ts'

/** Characters that some provider refuses in a tool name, and the maximum length that all accept. */
const INVALID = /[^a-zA-Z0-9_-]/g
const MAX_CHARACTERS = 64

/**
 * Returns a tool call that every provider accepts in a conversation: its arguments are an object, and its name is made
 * of the characters that all accept. Other arguments become `{}`: the result of the call reports what was wrong.
 */
export function validCall(call: ToolCall): ToolCall {
  const args = isMap(call.args) ? call.args : {}
  const name = call.name.replaceAll(INVALID, '_').slice(0, MAX_CHARACTERS) || 'unknown'
  return args === call.args && name === call.name ? call : { ...call, name, args }
}

import { MillraceError } from '../../protocol/errors.ts'
import { wellFormed } from '../text.ts'

/** A tool's output: `content` for the model, `output` for the readers of the run. */
export type ToolOutput = { readonly content: string; readonly output: unknown; readonly truncated: boolean }

/**
 * Makes an output from the return value of a tool: text unchanged, everything else as JSON. An output of more than
 * `maxBytes` bytes of UTF-8 is cut at a character, and a mark follows the cut.
 * @throws MillraceError `tool_failed` for a value that JSON cannot represent, or would empty.
 */
export function toolOutput(given: unknown, maxBytes: number): ToolOutput {
  const text = typeof given === 'string' ? given : jsonOf(given)
  const kept = cut(text, maxBytes)
  if (kept.length < text.length) {
    const content = `${wellFormed(kept)}\n[cut off: the output was longer than ${maxBytes} bytes]`
    return { content, output: content, truncated: true }
  }
  if (typeof given !== 'string') return { content: text, output: JSON.parse(text) as unknown, truncated: false }
  const content = wellFormed(text)
  return { content, output: content, truncated: false }
}

function jsonOf(given: unknown): string {
  if (typeof given === 'function' || typeof given === 'symbol') throw noJson(`a ${typeof given}`)
  try {
    return JSON.stringify(given, refuseEmptied) ?? 'null'
  } catch (cause) {
    if (MillraceError.is(cause)) throw cause
    throw new MillraceError('tool_failed', 'the output of the tool cannot be written as JSON: return plain data', {
      cause,
    })
  }
}

/**
 * Passes on a value, at any depth, unless JSON writes it as `{}` although it holds something: a `Response`, a stream, a
 * `Map`, a promise. What such an object holds is not in members that JSON sees.
 */
function refuseEmptied(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || Object.keys(value).length > 0) return value
  const prototype: unknown = Object.getPrototypeOf(value)
  // A prototype without one of its own is that of plain objects, also of another realm.
  if (prototype === null || Object.getPrototypeOf(prototype) === null) return value
  const name: unknown = value.constructor?.name
  throw noJson(typeof name === 'string' && name !== '' ? `a value of type ${name}` : 'such a value')
}

function noJson(what: string): MillraceError {
  const advice = 'return plain data, such as `await response.json()` or `[...map]`'
  return new MillraceError('tool_failed', `the output of the tool has ${what}, which JSON would lose: ${advice}`)
}

/** The beginning of `text`, at most `maxBytes` bytes of UTF-8. The cost does not grow with the length of `text`. */
function cut(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes) return text
  const room = new Uint8Array(maxBytes)
  const { read } = new TextEncoder().encodeInto(text.slice(0, maxBytes), room)
  return text.slice(0, read)
}

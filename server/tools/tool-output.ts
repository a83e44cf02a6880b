import { MillraceError } from '../../protocol/errors.ts'
import { wellFormed } from '../text.ts'

/** A tool's output: `content` for the model, `output` for the readers of the run. */
export type ToolOutput = { readonly content: string; readonly output: unknown; readonly truncated: boolean }

/**
 * Makes an output from the return value of a tool: text unchanged, everything else as JSON. An output of more than
 * `maxBytes` bytes of UTF-8 is cut at a character, and a mark follows the cut.
 * @throws MillraceError `tool_failed` for a value that JSON cannot represent.
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
  try {
    return JSON.stringify(given) ?? 'null'
  } catch (cause) {
    throw new MillraceError('tool_failed', 'the output of the tool cannot be written as JSON: return plain data', {
      cause,
    })
  }
}

/** The beginning of `text`, at most `maxBytes` bytes of UTF-8. The cost does not grow with the length of `text`. */
function cut(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes) return text
  const room = new Uint8Array(maxBytes)
  const { read } = new TextEncoder().encodeInto(text.slice(0, maxBytes), room)
  return text.slice(0, read)
}

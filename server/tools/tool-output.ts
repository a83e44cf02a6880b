import { MillraceError } from '../../protocol/errors.ts'
import { wellFormed } from '../text.ts'

/** A tool's output: as the model reads it, and as the people attached do. */
export type ToolOutput = { readonly content: string; readonly output: unknown; readonly truncated: boolean }

/**
 * What a tool gave, made plain: text as it is, all else as JSON. What is longer than `maxBytes` of UTF-8 is cut there, at
 * a character, with a mark behind it.
 * @throws MillraceError `tool_failed` for what cannot be written as JSON.
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
    throw new MillraceError('tool_failed', 'the output of the tool cannot be written as JSON', { cause })
  }
}

/** The beginning of `text`, of at most `maxBytes` bytes. A text of any length costs no more than that. */
function cut(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes) return text
  const room = new Uint8Array(maxBytes)
  const { read } = new TextEncoder().encodeInto(text.slice(0, maxBytes), room)
  return text.slice(0, read)
}

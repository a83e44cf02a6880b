import { isMap } from '../../../protocol/map.ts'
import type { Extra, Message, ToolCall } from '../model.ts'
import type { Wire } from './json.ts'

type AssistantMessage = Extract<Message, { role: 'assistant' }>

/** One part of an answer: text, a tool call, or what only the provider can read, such as signed thinking. */
export type AnswerPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'call'; readonly call: ToolCall }
  | { readonly type: 'opaque'; readonly part: Wire }

/** A text is kept as its length, a call as the word `call`: the message has both already. */
type Entry = number | 'call' | Wire

/**
 * The parts of one answer, in the order in which they came. Providers that sign their thinking want it back unchanged
 * and in its place. Kept in `extra` of the answer's message, under a name that only one adapter reads.
 */
export class PartOrder {
  readonly #entries: Entry[] = []
  #hasOpaque = false

  /** Adds a text of that many UTF-16 units. */
  text(length: number): void {
    const last = this.#entries.length - 1
    if (length === 0) return
    const before = this.#entries[last]
    if (typeof before === 'number') this.#entries[last] = before + length
    else this.#entries.push(length)
  }

  /** Adds the next tool call. */
  call(): void {
    this.#entries.push('call')
  }

  /** Adds a part that goes back as it is. */
  opaque(part: Wire): void {
    this.#hasOpaque = true
    this.#entries.push(part)
  }

  /** What the message of the answer keeps. Undefined: text and calls in their usual order say everything. */
  extra(name: string): Extra | undefined {
    return this.#hasOpaque ? { [name]: this.#entries } : undefined
  }
}

/**
 * The parts of a message as its provider sent them. If text or calls have changed since, opaque parts come first, then
 * the text, then the calls. A conversation may come from a client, so each opaque part is read by `accept`.
 * @param accept returns the part as it may go to the provider; undefined leaves it out.
 */
export function partsOf(
  { content, calls = [], extra }: AssistantMessage,
  name: string,
  accept: (part: Wire) => Wire | undefined,
): AnswerPart[] {
  const kept = extra?.[name]
  const entries: unknown[] = Array.isArray(kept) ? kept : []
  const texts = entries.filter((entry) => Number.isSafeInteger(entry) && (entry as number) > 0) as number[]
  const isWhole =
    texts.reduce((sum, length) => sum + length, 0) === content.length &&
    entries.filter((entry) => entry === 'call').length === calls.length
  const parts: AnswerPart[] = []
  let at = 0
  let call = 0
  for (const entry of entries) {
    const part = isMap(entry) ? accept(entry) : undefined
    if (part) parts.push({ type: 'opaque', part })
    else if (isWhole && entry === 'call') parts.push({ type: 'call', call: calls[call++]! })
    else if (isWhole && texts.includes(entry as number)) {
      parts.push({ type: 'text', text: content.slice(at, at + (entry as number)) })
      at += entry as number
    }
  }
  if (!isWhole) {
    if (content !== '') parts.push({ type: 'text', text: content })
    parts.push(...calls.map((call) => ({ type: 'call', call }) as const))
  }
  return parts
}

import { randomBytes } from 'node:crypto'
import { isMap } from '../../../protocol/map.ts'
import type { ModelEvent } from '../model.ts'

// Readers for the JSON of providers, in which any field may be missing or of another type.

/** A JSON object of a provider. */
export type Wire = { readonly [key: string]: unknown }

/** The JSON object of a text; undefined for any other text. */
export function parsedWire(text: string): Wire | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isMap(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** The object in a field, or an empty object. */
export function objectIn(value: unknown): Wire {
  return isMap(value) ? value : {}
}

/** The objects of the list in a field; other elements are left out. */
export function objectsIn(value: unknown): Wire[] {
  return Array.isArray(value) ? value.filter(isMap) : []
}

/** The string in a field, or an empty one. */
export function textIn(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** The text and thinking in a field `content`: a string, or a list of parts. Parts of other types are left out. */
export function contentIn(content: unknown): Extract<ModelEvent, { type: 'text' | 'thinking' }>[] {
  return (Array.isArray(content) ? content : [content]).map(partIn).filter(({ text }) => text !== '')
}

function partIn(part: unknown): Extract<ModelEvent, { type: 'text' | 'thinking' }> {
  if (!isMap(part)) return { type: 'text', text: textIn(part) }
  const { type, text, thinking, refusal } = part
  if (type !== 'thinking' && type !== 'reasoning') return { type: 'text', text: textIn(text) || textIn(refusal) }
  const inner = objectsIn(thinking)
    .map((piece) => textIn(piece['text']))
    .join('')
  return { type: 'thinking', text: textIn(thinking) || inner || textIn(text) }
}

/** The count in a field; 0 for anything but a positive integer. */
export function countIn(value: unknown): number {
  return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : 0
}

/**
 * The arguments of a tool call, as an object or as JSON text. No arguments and `null` are an empty object. Text that is
 * not JSON stays text: the result of the call reports the error to the model.
 */
export function argsOf(given: unknown): unknown {
  if (typeof given !== 'string') return given ?? {}
  if (given.trim() === '') return {}
  try {
    return (JSON.parse(given) as unknown) ?? {}
  } catch {
    return given
  }
}

/** The id of a tool call in a field, or a new random id. */
export function callIdIn(value: unknown): string {
  return textIn(value) || `call_${randomBytes(16).toString('base64url')}`
}

import { randomBytes } from 'node:crypto'

/** Narrowing of what providers send: anything may be missing or of another type. */

export type Wire = { readonly [key: string]: unknown }

export function isWire(value: unknown): value is Wire {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The object in a field, or an empty one. */
export function objectIn(value: unknown): Wire {
  return isWire(value) ? value : {}
}

/** The objects of a list in a field. */
export function objectsIn(value: unknown): Wire[] {
  return Array.isArray(value) ? value.filter(isWire) : []
}

export function textIn(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** A count in a field; what is not one counts as 0. */
export function countIn(value: unknown): number {
  return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : 0
}

/** The id of a tool call; where a provider gives none, one is minted. */
export function callIdIn(value: unknown): string {
  return textIn(value) || `call_${randomBytes(16).toString('base64url')}`
}

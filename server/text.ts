/** The most bytes of UTF-8 that one UTF-16 unit takes. */
const MAX_UNIT_BYTES = 3
const ELLIPSIS_BYTES = 3

/**
 * Returns the beginning of `text`, for a message that quotes a client: at most `most` UTF-16 code units, followed by `…`
 * if text was cut off. A surrogate pair is never split.
 */
export function excerpt(text: string, most: number): string {
  if (text.length <= most) return text
  const last = text.charCodeAt(most - 1)
  const end = last >= 0xd800 && last <= 0xdbff ? most - 1 : most
  return `${text.slice(0, end)}…`
}

/**
 * Returns the beginning of `text`, at most `most` bytes of UTF-8, with `…` in place of what was cut off. A character is
 * never split. The cost does not grow with the length of `text`.
 */
export function excerptBytes(text: string, most: number): string {
  if (fits(text, most)) return text
  return `${headOf(text, Math.max(0, most - ELLIPSIS_BYTES))}…`
}

/** Returns the beginning of `text`, at most `most` bytes of UTF-8, cut at a character. The cost does not grow with `text`. */
export function headOf(text: string, most: number): string {
  if (text.length * MAX_UNIT_BYTES <= most) return text
  const { read } = new TextEncoder().encodeInto(text.slice(0, most), new Uint8Array(most))
  return text.slice(0, read)
}

function fits(text: string, most: number): boolean {
  return text.length * MAX_UNIT_BYTES <= most || (text.length <= most && Buffer.byteLength(text) <= most)
}

/** Returns whether `text` has no lone surrogate. Only such text can be encoded as UTF-8. */
export function isWellFormed(text: string): boolean {
  return (text as WellFormedString).isWellFormed()
}

/** Returns `text` with U+FFFD in place of each lone surrogate. */
export function wellFormed(text: string): string {
  return (text as WellFormedString).toWellFormed()
}

/** ES2024 methods of every supported runtime that the compiler's ES2023 library does not declare. */
type WellFormedString = string & { isWellFormed(): boolean; toWellFormed(): string }

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

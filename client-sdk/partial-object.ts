/** A value of which parts may be missing, at any depth. */
export type Partially<T> = T extends readonly (infer Item)[]
  ? Partially<Item>[]
  : T extends object
    ? { [Name in keyof T]?: Partially<T[Name]> }
    : T

/** A JSON text up to its closing quote, or to the end, where an escape may not be complete. */
const TEXT = /"((?:[^"\\]+|\\u[\da-f]{4}|\\[^u])*)("|(?:\\(?:u[\da-f]{0,3})?)?$)/iy
const WORD = /[^\s,\]}]*/y
const SPACE = /\s*/y

/**
 * Returns what the beginning of a JSON object holds, while the rest is still to come: `partialObject('{"city": "Os')` is
 * `{ city: 'Os' }`. A text is as long as what has come of it. A name without a value is left out, and so is a number or
 * a word that may go on. What stands before the first `{` is ignored. It reads the whole text each time.
 *
 * @typeParam T What the whole object is. It is not checked.
 * @param text The text so far of one answer.
 * @returns undefined before the first `{`, and for what is no JSON.
 */
export function partialObject<T = unknown>(text: string): Partially<T> | undefined {
  let at = text.indexOf('{')
  if (at < 0) return undefined

  const match = (pattern: RegExp): RegExpExecArray => {
    pattern.lastIndex = at
    const found = pattern.exec(text)
    if (!found) throw new SyntaxError()
    at += found[0].length
    return found
  }
  /** The next character that is no space; undefined at the end. */
  const next = (): string | undefined => {
    match(SPACE)
    return text[at]
  }
  const string = (): { value: string; isWhole: boolean } => {
    const [, body, end] = match(TEXT)
    return { value: JSON.parse(`"${body}"`) as string, isWhole: end === '"' }
  }
  /** Undefined: it has not come, or may go on. */
  const value = (): unknown => {
    const first = next()
    if (first === '{') return Object.fromEntries(members('}', entry) as [string, unknown][])
    if (first === '[') return members(']', value)
    if (first === '"') return string().value
    const [word] = match(WORD)
    return at < text.length ? JSON.parse(word) : undefined
  }
  const entry = (): [string, unknown] | undefined => {
    if (next() === undefined) return undefined
    const { value: name, isWhole } = string()
    if (!isWhole || next() === undefined) return undefined
    if (text[at++] !== ':') throw new SyntaxError()
    const one = value()
    return one === undefined ? undefined : [name, one]
  }
  /** What stands between two brackets, as far as it has come. */
  const members = (end: string, member: () => unknown): unknown[] => {
    const all: unknown[] = []
    at++
    if (next() === end) at++
    else
      for (;;) {
        const one = member()
        if (one !== undefined) all.push(one)
        const after = next()
        if (after !== undefined) at++
        if (after === undefined || after === end) break
        if (after !== ',') throw new SyntaxError()
      }
    return all
  }

  try {
    return value() as Partially<T>
  } catch {
    return undefined
  }
}

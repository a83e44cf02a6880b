/** Where a pattern of Lua was found, and what it captured: all of it, if it names no part. */
type Found = { readonly start: number; readonly end: number; readonly captures: string[] }

const compiled = new Map<string, RegExp>()

/** Finds a pattern of Lua in a text of bytes, from the place `at` on. */
export function findPattern(text: string, pattern: string, at: number): Found | undefined {
  // What is found there for ever would never end.
  if (at > text.length) return undefined
  let expression = compiled.get(pattern)
  if (!expression) compiled.set(pattern, (expression = expressionOf(pattern)))
  expression.lastIndex = at
  const found = expression.exec(text)
  if (!found) return undefined
  const captures = found.length > 1 ? found.slice(1) : [found[0]]
  const start = found.index
  return { start, end: Math.max(start + found[0].length, at + (found[0] === '' ? 1 : 0)), captures }
}

/** Of the classes of Lua, those that scripts use here. */
const CLASSES: { readonly [letter: string]: string } = { d: '0-9', a: 'A-Za-z', s: '\\s', w: 'A-Za-z0-9' }

function expressionOf(pattern: string): RegExp {
  const isAnchored = pattern.startsWith('^')
  let source = ''
  for (let i = isAnchored ? 1 : 0; i < pattern.length; i++) {
    const sign = pattern[i]!
    if (sign === '%') source += classOf(pattern[++i]!)
    else if (sign === '[') {
      const end = pattern.indexOf(']', i + 2)
      source += setOf(pattern.slice(i + 1, end))
      i = end
    } else if (sign === '.') source += '[\\s\\S]'
    else if (sign === '-') source += '*?'
    else if ('()+*?'.includes(sign)) source += sign
    else if (sign === '$' && i === pattern.length - 1) source += '$'
    else source += escaped(sign)
  }
  // One that is anchored is looked for in one place only.
  return new RegExp(source, isAnchored ? 'y' : 'g')
}

function classOf(letter: string): string {
  const known = CLASSES[letter]
  if (known === undefined && /[a-z]/i.test(letter)) throw new Error(`no class %${letter}`)
  return known === undefined ? escaped(letter) : `[${known}]`
}

function setOf(inside: string): string {
  const isNot = inside.startsWith('^')
  let source = ''
  for (let i = isNot ? 1 : 0; i < inside.length; i++) {
    const sign = inside[i]!
    if (sign === '%') source += CLASSES[inside[++i]!] ?? escaped(inside[i]!)
    else source += sign === '-' ? '-' : escaped(sign)
  }
  return `[${isNot ? '^' : ''}${source}]`
}

function escaped(sign: string): string {
  return `\\x${sign.charCodeAt(0).toString(16).padStart(2, '0')}`
}

import { MillraceError } from './errors.ts'
import { isMap } from './map.ts'

/** The kinds of values that options take, in the words of a message. */
export type OptionKind =
  | 'anything'
  | 'a string'
  | 'a number'
  | 'true or false'
  | 'a function'
  | 'an object'
  | 'a list'
  | 'a list of strings, such as ["https://app.example"]'
  | 'a list of strings, such as ["HS256"]'
  | 'a string or an object'
  | 'a function, or true or false'
  | 'an object or false'

const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every((one) => typeof one === 'string')

const IS: { readonly [kind in OptionKind]: (value: unknown) => boolean } = {
  anything: () => true,
  'a string': (value) => typeof value === 'string',
  'a number': (value) => typeof value === 'number',
  'true or false': (value) => typeof value === 'boolean',
  'a function': (value) => typeof value === 'function',
  'an object': isMap,
  'a list': (value) => Array.isArray(value),
  'a list of strings, such as ["https://app.example"]': isTexts,
  'a list of strings, such as ["HS256"]': isTexts,
  'a string or an object': (value) => typeof value === 'string' || isMap(value),
  'an object or false': (value) => value === false || isMap(value),
  'a function, or true or false': (value) => typeof value === 'function' || typeof value === 'boolean',
}

/** What kind of value each option takes. */
export type OptionKinds<Options> = { readonly [Name in keyof Required<Options> & string]: OptionKind }

/**
 * Checks the names and kinds of options that people write. An option that is `undefined` counts as left out.
 * @param of whose options they are, such as `createServer`.
 * @throws MillraceError `bad_request`, which names the option. A misspelt one is told the name it is near to.
 */
export function checkOptions(of: string, given: unknown, kinds: { readonly [name: string]: OptionKind }): void {
  if (!isMap(given)) throw new MillraceError('bad_request', `${of} needs an object of options`)
  checkNames('option', ` of ${of}`, given, Object.keys(kinds))
  for (const [name, value] of Object.entries(given as object)) {
    const kind = kinds[name]
    if (kind !== undefined && value !== undefined && !IS[kind](value))
      throw new MillraceError('bad_request', `${name} must be ${kind}`)
  }
}

/**
 * Checks that each name of `given` is known.
 * @param noun what the names are, such as `limit`.
 * @param of whose, with a leading space. May be empty.
 * @throws MillraceError `bad_request` for the first that is not. It suggests the nearest known name, or lists them.
 */
export function checkNames(noun: string, of: string, given: object, known: readonly string[]): void {
  const unknown = Object.keys(given).find((name) => !known.includes(name))
  if (unknown === undefined) return
  const near = nearest(unknown, known)
  const help = near === undefined ? `known ${noun}s: ${known.join(', ')}` : `did you mean ${near}?`
  throw new MillraceError('bad_request', `unknown ${noun} ${unknown}${of}; ${help}`)
}

/** The known name that a misspelt one is near to: by a few letters, by case, or because one begins with the other. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const most = Math.max(1, Math.min(3, Math.floor(name.length / 3)))
  let near: string | undefined
  let least = most + 1
  for (const candidate of known) {
    const distance = distanceBetween(name.toLowerCase(), candidate.toLowerCase())
    if (distance >= least) continue
    least = distance
    near = candidate
  }
  const begins = (candidate: string): boolean =>
    Math.min(name.length, candidate.length) >= 4 && (candidate.startsWith(name) || name.startsWith(candidate))
  return near ?? known.find(begins)
}

/** How many letters must be added, left out, replaced or swapped with their neighbour to make one text of the other. */
function distanceBetween(one: string, other: string): number {
  let before: number[] = []
  let row = Array.from({ length: other.length + 1 }, (_, at) => at)
  for (let i = 1; i <= one.length; i++) {
    const next = [i]
    for (let j = 1; j <= other.length; j++) {
      const isSame = one[i - 1] === other[j - 1]
      const replaced = row[j - 1]! + (isSame ? 0 : 1)
      const isSwap = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, replaced, isSwap ? before[j - 2]! + 1 : replaced)
    }
    before = row
    row = next
  }
  return row[other.length]!
}

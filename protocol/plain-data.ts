import { MillraceError } from './errors.ts'
import type { WireMap } from './frames.ts'

/**
 * Passes what may be written as an array or a map: arrays, and objects without a class.
 *
 * @param depth how many containers may nest from here on.
 * @throws MillraceError `bad_request` for anything else, and for what nests deeper or refers to itself.
 */
export function container(value: object | bigint | symbol, depth: number): unknown[] | WireMap {
  if (depth <= 0) refuse('it nests deeper than maxDepth allows, or refers to itself')
  const prototype: unknown = Object.getPrototypeOf(value)
  // The last look is for objects of another realm, whose `Object.prototype` is not ours.
  const isPlain = Array.isArray(value) || prototype === null || Object.getPrototypeOf(prototype) === null
  return isPlain
    ? (value as WireMap)
    : refuse(`${typeof value} ${value.constructor?.name} is not plain data: send its fields`)
}

/**
 * The keys of a map that travel: one whose value is undefined is left out, as in JSON.
 * @throws MillraceError `bad_request` for the one that no receiver accepts.
 */
export function keysOf(map: WireMap): string[] {
  if (Object.hasOwn(map, '__proto__')) refuse('the key __proto__ is not allowed: rename it')
  return Object.keys(map).filter((key) => map[key] !== undefined)
}

function refuse(rule: string): never {
  throw new MillraceError('bad_request', `data cannot travel: ${rule}`)
}

import { MillraceError } from './errors.ts'
import type { WireMap } from './frames.ts'

/**
 * Returns `value` if it can be encoded as an array or a map: an array, or an object without a class.
 *
 * @param depth How many containers may nest, this one included.
 * @throws MillraceError `bad_request` for any other value, and for one that nests deeper or refers to itself.
 */
export function container(value: object | bigint | symbol, depth: number): unknown[] | WireMap {
  if (depth <= 0) refuse('it is deeper than maxDepth, or refers to itself')
  const prototype: unknown = Object.getPrototypeOf(value)
  // The last check accepts objects of another realm, which has an `Object.prototype` of its own.
  const isPlain = Array.isArray(value) || prototype === null || Object.getPrototypeOf(prototype) === null
  return isPlain
    ? (value as WireMap)
    : refuse(`${typeof value} ${value.constructor?.name} is not plain data: send its fields`)
}

/**
 * Returns the keys of a map that are sent. As in JSON, a key whose value is undefined is left out.
 * @throws MillraceError `bad_request` for the key `__proto__`, which no receiver accepts.
 */
export function keysOf(map: WireMap): string[] {
  if (Object.hasOwn(map, '__proto__')) refuse('rename the key __proto__')
  return Object.keys(map).filter((key) => map[key] !== undefined)
}

/** The bytes that a view shows, without a copy. The view may be of another realm, where `instanceof` does not know it. */
export function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

function refuse(rule: string): never {
  throw new MillraceError('bad_request', `data cannot be sent: ${rule}`)
}

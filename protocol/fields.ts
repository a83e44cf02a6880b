import { ProtocolFault } from './errors.ts'
import type { Key, OpenLane, WireMap } from './frames.ts'

/** Checks one element of a frame and returns it with its type. */
export type Read<T> = (value: unknown) => T

/** Checks for properties of a frame, in the order of the wire. */
export type Fields<Frame> = {
  [K in keyof Frame]?: Read<Frame[K] | undefined>
}

/** How to read a frame: the elements after its tag, then the keys of the map after those. All become properties. */
export type FieldRow<Frame> = Frame extends { kind: infer Kind }
  ? readonly [kind: Kind, elements: Fields<Frame>, info?: Fields<Frame>]
  : never

/** The rows of one direction, by tag. */
export type Table<Frame> = { readonly [tag: number]: FieldRow<Frame> }

/** Reads a whole frame, as fast as it can be read: for the most frequent one. */
export type ReadWhole<Frame> = (elements: unknown[]) => Frame

/** The element being read, for the message of a fault. Reading is synchronous, so there is only one at a time. */
let place: string

/**
 * Returns the frame in a decoded array, or undefined for an unknown tag that may be skipped.
 * @throws ProtocolFault 4400; the message names the malformed element.
 */
export function readFrame<Frame>(
  table: { readonly [tag: number]: FieldRow<Frame> | ReadWhole<Frame> },
  value: unknown,
): Frame | undefined {
  place = 'frame'
  const elements = Array.isArray(value) ? value : wrong()
  const tag = uint(elements[0])
  const row = table[tag]
  if (row === undefined) return tag >= 0x60 && tag < 0x80 ? undefined : wrong(`tag ${tag}`)
  if (typeof row === 'function') return row(elements)
  const [kind, fields, info] = row
  const frame: WireMap = { kind }
  let at = 1
  for (const name in fields) readInto(frame, fields, name, elements[at++])
  if (info !== undefined) readMap(info, elements[at], frame)
  return frame as Frame
}

/** Reads the known keys of a map into `target`. */
export function readMap(shape: object, value: unknown, target: WireMap = {}): WireMap {
  const source = map(value ?? {})
  for (const name in shape) readInto(target, shape, name, source[name])
  return target
}

function readInto(target: WireMap, shape: object, name: string, element: unknown): void {
  place = name
  const value = (shape as { [name: string]: Read<unknown> })[name]!(element)
  if (value !== undefined) target[name] = value
}

/** @throws ProtocolFault 4400, for the element being read unless another is named. */
export function wrong(what: string = place): never {
  throw new ProtocolFault(`malformed ${what}`)
}

/** Accepts an absent element, nil, and everything that `read` accepts. */
export function optional<T>(read: Read<T>): Read<T | undefined> {
  return (value) => (value == null ? undefined : read(value))
}

/** Accepts any element that is present. */
export function any(value: unknown): unknown {
  return value === undefined ? wrong() : value
}

export function uint(value: unknown): number {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) + 0 : wrong()
}

export function positive(value: unknown): number {
  return uint(value) || wrong()
}

export function bool(value: unknown): boolean {
  return typeof value === 'boolean' ? value : wrong()
}

export function str(value: unknown): string {
  return typeof value === 'string' ? value : wrong()
}

/** Text of at most `max` bytes of UTF-8. */
export function text(max: number): Read<string> {
  return (value) => (new TextEncoder().encode(str(value)).length > max ? wrong() : (value as string))
}

/** A client-made identifier of at most `max` bytes. */
export function key(max: number): Read<Key> {
  return (value) => (value instanceof Uint8Array && value.length <= max ? value : text(max)(value))
}

export function map(value: unknown): WireMap {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) return wrong()
  return value as WireMap
}

export function list<T>(read: Read<T>): Read<T[]> {
  return (value) => (Array.isArray(value) ? value.map((one) => read(one)) : wrong())
}

/** One of `words`, sent as the word itself. */
export function word<Word extends string>(words: readonly Word[]): Read<Word> {
  return (value) => (words.includes(value as Word) ? (value as Word) : wrong())
}

/** One of `words`, sent as its index. */
export function numbered<Word extends string>(words: readonly Word[]): Read<Word> {
  return (value) => words[uint(value)] ?? wrong()
}

/** An open lane: its number, and the data of its `lane.start`. */
export function openLane(value: unknown): OpenLane {
  const [lane, data] = list(any)(value)
  return [uint(lane), map(data)]
}

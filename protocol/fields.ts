import { ProtocolFault } from './errors.ts'
import type { Key, OpenLane, WireMap } from './frames.ts'

/** Checks one element of a frame and gives it its type. `name` is what a fault says of it. */
export type Read<T> = (value: unknown, name: string) => T

/** The checks of some of a frame's properties, in the order of the wire. */
export type Fields<Frame> = {
  [K in keyof Frame]?: Read<Frame[K] | undefined>
}

/** How a frame is read: the elements behind its tag, then the keys of the map behind those, spread into the frame. */
export type Row<Frame> = Frame extends { kind: infer Kind }
  ? readonly [kind: Kind, elements: Fields<Frame>, info?: Fields<Frame>]
  : never

/** The rows of one direction, by tag. */
export type Table<Frame> = { readonly [tag: number]: Row<Frame> }

/**
 * The frame that a decoded array says, or undefined for an unknown tag that may be skipped.
 * @throws ProtocolFault 4400 naming the element that is wrong.
 */
export function readFrame<Frame>(table: Table<Frame>, value: unknown): Frame | undefined {
  const array = list(any)(value, 'frame')
  const tag = uint(array[0], 'tag')
  const row = table[tag]
  if (row === undefined) return tag >= 0x60 && tag < 0x80 ? undefined : wrong(`tag ${tag}`)
  const [kind, elements, info] = row
  const frame: WireMap = { kind }
  let at = 1
  for (const [name, read] of entries(elements)) put(frame, name, read(array[at++], name))
  if (info !== undefined) readMap(info, array[at] ?? {}, 'info', frame)
  return frame as Frame
}

/** The known keys of a map, put into `target`. */
export function readMap(shape: object, value: unknown, name: string, target: WireMap = {}): WireMap {
  const source = map(value, name)
  for (const [key, read] of entries(shape)) put(target, key, read(source[key], key))
  return target
}

function entries(shape: object): [name: string, read: Read<unknown>][] {
  return Object.entries(shape)
}

function put(target: WireMap, name: string, value: unknown): void {
  if (value !== undefined) target[name] = value
}

export function wrong(name: string): never {
  throw new ProtocolFault(`malformed ${name}`)
}

/** Absent or nil, or what `read` accepts. */
export function optional<T>(read: Read<T>): Read<T | undefined> {
  return (value, name) => (value == null ? undefined : read(value, name))
}

/** Anything, as long as it is there. */
export function any(value: unknown, name: string): unknown {
  return value === undefined ? wrong(name) : value
}

export function uint(value: unknown, name: string): number {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) + 0 : wrong(name)
}

export function positive(value: unknown, name: string): number {
  return uint(value, name) || wrong(name)
}

export function bool(value: unknown, name: string): boolean {
  return typeof value === 'boolean' ? value : wrong(name)
}

export function str(value: unknown, name: string): string {
  return typeof value === 'string' ? value : wrong(name)
}

/** Text of at most `max` bytes. */
export function text(max: number): Read<string> {
  return (value, name) => (byteLength(str(value, name)) > max ? wrong(name) : (value as string))
}

/** A client-made identifier of at most `max` bytes. */
export function key(max: number): Read<Key> {
  return (value, name) => {
    if (value instanceof Uint8Array) return value.length > max ? wrong(name) : value
    return text(max)(value, name)
  }
}

export function map(value: unknown, name: string): WireMap {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array)
    return wrong(name)
  return value as WireMap
}

export function list<T>(read: Read<T>): Read<T[]> {
  return (value, name) => (Array.isArray(value) ? value.map((one) => read(one, name)) : wrong(name))
}

/** One of `words`, which travels as itself. */
export function word<Word extends string>(words: readonly Word[]): Read<Word> {
  return (value, name) => (words.includes(value as Word) ? (value as Word) : wrong(name))
}

/** One of `words`, which travels as its index. */
export function numbered<Word extends string>(words: readonly Word[]): Read<Word> {
  return (value, name) => words[uint(value, name)] ?? wrong(name)
}

/** A part that is open: its lane and the data of its start. */
export function openLane(value: unknown, name: string): OpenLane {
  const pair = list(any)(value, name)
  return [uint(pair[0], name), map(pair[1], name)]
}

function byteLength(value: string): number {
  return new TextEncoder().encode(value).length
}

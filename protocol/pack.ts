import type { WireMap } from './frames.ts'
import { bytesOf, container, keysOf } from './plain-data.ts'

const utf8 = new TextEncoder()

/**
 * Appends plain data to `out` as MessagePack: null, booleans, numbers, strings, bytes (any view of an ArrayBuffer),
 * arrays, and objects without a class, each in its smallest form. `undefined` becomes nil, and is left out of a map. A
 * `Writer` writes the same bytes several times as fast, with several times the code. `pack` is for clients, which write
 * little.
 *
 * @param out Receives the bytes. Only the low 8 bits of each number count.
 * @param depth How many containers may nest.
 * @throws MillraceError `bad_request` for any other value, and for one that nests deeper or refers to itself.
 */
export function pack(out: number[], value: unknown, depth: number): void {
  if (value == null) out.push(0xc0)
  else if (typeof value === 'boolean') out.push(value ? 0xc3 : 0xc2)
  else if (typeof value === 'number') packNumber(out, value)
  else if (typeof value === 'string') packBytes(out, utf8.encode(value), 0xa0, 0x20, 0xd9)
  else if (ArrayBuffer.isView(value)) packBytes(out, bytesOf(value), 0, 0, 0xc4)
  else packContainer(out, container(value, depth), depth - 1)
}

function packContainer(out: number[], value: ReturnType<typeof container>, depth: number): void {
  const isArray = Array.isArray(value)
  const keys = isArray ? [...value.keys()] : keysOf(value)
  packSize(out, keys.length, isArray ? 0x90 : 0x80, 0x10, isArray ? 0xdb : 0xdd, 2)
  for (const key of keys) {
    if (!isArray) pack(out, key, 0)
    pack(out, (value as WireMap)[key], depth)
  }
}

/** Packs an integer of up to 32 bits as an integer, and every other number as a float64. */
function packNumber(out: number[], value: number): void {
  if (value >>> 0 === value) return packSize(out, value, 0, 0x80, 0xcc)
  // A sign takes one bit.
  if (value >> 0 === value) return packSize(out, value, 0, 0x40, 0xd0, 1, ~value * 2)
  const float = new DataView(new ArrayBuffer(8))
  float.setFloat64(0, value)
  out.push(0xcb, ...new Uint8Array(float.buffer))
}

function packBytes(out: number[], bytes: Uint8Array, short: number, limit: number, first: number): void {
  packSize(out, bytes.length, short, limit, first)
  for (const byte of bytes) out.push(byte)
}

/**
 * Packs a length or integer `n`. If `span` is below `limit`, the byte `short` itself contains it. Otherwise it follows
 * the byte `first` in one byte, `first + 1` in two, or `first + 2` in four. `least` is 2 if there is no form with one
 * byte.
 */
function packSize(
  out: number[],
  n: number,
  short: number,
  limit: number,
  first: number,
  least = 1,
  span: number = n,
): void {
  if (span < limit) out.push(short | n)
  else if (span < 0x100 && least === 1) out.push(first, n)
  else if (span < 0x10000) out.push(first + 1, n >> 8, n)
  else out.push(first + 2, n >> 24, n >> 16, n >> 8, n)
}

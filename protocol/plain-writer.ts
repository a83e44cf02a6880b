import { MillraceError } from './errors.ts'
import type { WireMap } from './frames.ts'

const utf8 = new TextEncoder()

/**
 * A growing buffer that plain data is appended to as MessagePack, each value in its smallest form, byte for byte as
 * msgpackr does it.
 */
export class PlainWriter {
  /** Bytes written. */
  length = 0
  /** Values written, as a scan counts them: containers, keys and elements each. */
  values = 0
  protected bytes: Uint8Array<ArrayBuffer>

  /** @param size bytes to begin with; it grows by doubling. Default 1,024. */
  constructor(size = 1_024) {
    this.bytes = new Uint8Array(size)
  }

  /** What was written, as a copy of its own. */
  take(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.length)
  }

  /**
   * Plain data: null, booleans, numbers, strings, Uint8Array, arrays, and objects without a class. `undefined` is nil.
   *
   * @param depth how many containers may nest. Default 15: what `maxDepth` leaves inside a frame.
   * @throws MillraceError `bad_request` for anything else, and for what nests deeper or refers to itself.
   */
  value(value: unknown, depth = 15): void {
    if (value == null) return this.head(0xc0)
    if (typeof value === 'string') return this.str(value)
    if (typeof value === 'number') return this.number(value)
    if (typeof value === 'boolean') return this.head(value ? 0xc3 : 0xc2)
    if (value instanceof Uint8Array) return this.bin(value)
    const isArray = Array.isArray(value)
    if (!isArray && !isPlain(value)) refuse(`${nameOf(value)} is not plain data: send its fields`)
    if (depth <= 0) refuse('it nests deeper than maxDepth allows, or refers to itself')
    if (isArray) {
      const { length } = value
      this.array(length)
      for (let i = 0; i < length; i++) this.value(value[i], depth - 1)
      return
    }
    const keys = Object.keys(value)
    this.map(keys.length)
    for (const key of keys) {
      if (key === '__proto__') refuse('the key __proto__ is not allowed: rename it')
      this.str(key)
      this.value(value[key], depth - 1)
    }
  }

  /** Any number: an integer of up to 32 bits as such, every other as float64. */
  number(value: number): void {
    if (value >>> 0 === value) this.sized(value, 0, 0x80, 0xcc)
    else if (value >> 0 !== value) {
      this.head(0xcb, 8)
      new DataView(this.bytes.buffer).setFloat64(this.length - 8, value)
    } else if (value >= -0x20) this.head(value)
    else if (value >= -0x80) this.head(0xd0, 1, value)
    else if (value >= -0x8000) this.head(0xd1, 2, value)
    else this.head(0xd2, 4, value)
  }

  /** Text. Half of a surrogate pair is written as U+FFFD. */
  str(value: string): void {
    const text = utf8.encode(value)
    this.strHead(text.length)
    this.append(text)
  }

  bin(value: Uint8Array): void {
    this.sized(value.length, 0, 0, 0xc4)
    this.append(value)
  }

  /** The header of an array: `length` values follow. */
  array(length: number): void {
    this.sized(length, 0x90, 0x10, 0xdb, 2)
  }

  /** The header of a map: `length` times a key (`str`) and a value follow. */
  map(length: number): void {
    this.sized(length, 0x80, 0x10, 0xdd, 2)
  }

  /** The header of text of `length` bytes. */
  protected strHead(length: number): void {
    this.sized(length, 0xa0, 0x20, 0xd9)
  }

  /** Bytes as they stand. */
  append(bytes: Uint8Array): void {
    this.room(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  /**
   * A length or integer: below `limit` it is told by the byte `short` itself; else it follows `first` in one byte, the
   * next in two, or the one after that in four. `least`: 2 where there is no form of one byte.
   */
  protected sized(n: number, short: number, limit: number, first: number, least = 1): void {
    if (n < limit) this.head(short | n)
    else if (n < 0x100 && least === 1) this.head(first, 1, n)
    else if (n < 0x10000) this.head(first + 1, 2, n)
    else this.head(first + 2, 4, n)
  }

  /** The first byte of a value, and behind it the low `size` bytes of `n`. */
  protected head(byte: number, size = 0, n = 0): void {
    this.room(9)
    this.values++
    this.bytes[this.length++] = byte
    for (let shift = size * 8 - 8; shift >= 0; shift -= 8) this.bytes[this.length++] = n >> shift
  }

  /** Makes room for `more` bytes. */
  protected room(more: number): void {
    const needed = this.length + more
    if (needed <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2))
    grown.set(this.bytes)
    this.bytes = grown
  }
}

function isPlain(value: unknown): value is WireMap {
  if (typeof value !== 'object') return false
  const prototype: unknown = Object.getPrototypeOf(value)
  // The second look is for objects of another realm, whose `Object.prototype` is not ours.
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function nameOf(value: object | bigint | symbol): string {
  return typeof value === 'object' ? (value.constructor?.name ?? 'an object') : typeof value
}

function refuse(rule: string): never {
  throw new MillraceError('bad_request', `data cannot travel: ${rule}`)
}

import { MillraceError } from './errors.ts'

const encoder = new TextEncoder()

/**
 * A growing buffer that MessagePack values are appended to, each in its smallest form. One is kept and reset for message
 * after message. Byte for byte what msgpackr writes with `{ useRecords: false, variableMapSize: true,
 * encodeUndefinedAsNil: true }`.
 */
export class Writer {
  /** Bytes written. */
  length = 0
  /** Values written, as a scan counts them: containers, keys and elements each. */
  values = 0
  #bytes: Uint8Array<ArrayBuffer>
  #view: DataView

  /** @param size bytes to begin with; it grows by doubling. Default 1,024. */
  constructor(size = 1_024) {
    this.#bytes = new Uint8Array(size)
    this.#view = new DataView(this.#bytes.buffer)
  }

  /** What was written, without a copy: valid until the next write or reset. */
  view(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.length)
  }

  /** What was written, as a copy of its own. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length)
  }

  /** Forgets what was written and keeps the memory. */
  reset(): void {
    this.length = 0
    this.values = 0
  }

  nil(): void {
    this.#byte(0xc0)
  }

  bool(value: boolean): void {
    this.#byte(value ? 0xc3 : 0xc2)
  }

  /** An integer from 0 to 2^53 - 1. */
  uint(value: number): void {
    if (value < 0x80) return this.#byte(value)
    if (value > 0xffffffff) return this.number(value)
    this.values++
    this.#head(value, 0xcc, 0)
  }

  /** Any number. Integers of up to 32 bits are written as such, everything else as float64. */
  number(value: number): void {
    if (value >>> 0 === value) return this.uint(value)
    this.#room(9)
    this.values++
    const view = this.#view
    if (value >> 0 !== value) {
      view.setUint8(this.length, 0xcb)
      view.setFloat64(this.length + 1, value)
      this.length += 9
    } else if (value >= -0x20) view.setInt8(this.length++, value)
    else if (value >= -0x80) {
      view.setUint8(this.length, 0xd0)
      view.setInt8(this.length + 1, value)
      this.length += 2
    } else if (value >= -0x8000) {
      view.setUint8(this.length, 0xd1)
      view.setInt16(this.length + 1, value)
      this.length += 3
    } else {
      view.setUint8(this.length, 0xd2)
      view.setInt32(this.length + 1, value)
      this.length += 5
    }
  }

  /** Text. Half of a surrogate pair is written as U+FFFD. */
  str(value: string): void {
    const { length } = value
    this.values++
    this.#room(5 + length * 3)
    const start = this.length
    const bytes = this.#bytes
    if (length < 32) {
      // Short text is mostly ASCII, and a loop over it beats the call into the encoder.
      let i = 0
      for (let code: number; i < length && (code = value.charCodeAt(i)) < 0x80; i++) bytes[start + 1 + i] = code
      if (i === length) {
        bytes[start] = 0xa0 | length
        this.length = start + 1 + length
        return
      }
    }
    // The header's size is that of the text's bytes: written where the smallest possible one ends, moved when it grew.
    const guess = headSize(length)
    const { written } = encoder.encodeInto(value, bytes.subarray(start + guess))
    const size = headSize(written)
    if (size !== guess) bytes.copyWithin(start + size, start + guess, start + guess + written)
    if (size === 1) bytes[this.length++] = 0xa0 | written
    else this.#head(written, 0xd9, 0)
    this.length += written
  }

  bin(value: Uint8Array): void {
    this.values++
    this.#head(value.length, 0xc4, 0)
    this.#append(value)
  }

  /** The header of an array: `length` values follow. */
  array(length: number): void {
    if (length < 16) return this.#byte(0x90 | length)
    this.values++
    this.#head(length, 0xdb, 0x10000)
  }

  /** The header of a map: `length` times a key (`str`) and a value follow. */
  map(length: number): void {
    if (length < 16) return this.#byte(0x80 | length)
    this.values++
    this.#head(length, 0xdd, 0x10000)
  }

  /** Encoded values as they stand. @param values how many they are, for those who count. Default 1. */
  raw(encoded: Uint8Array, values = 1): void {
    this.values += values
    this.#append(encoded)
  }

  /**
   * Plain data: null, booleans, numbers, strings, Uint8Array, arrays, and objects without a class. `undefined` is nil.
   *
   * @param depth how many containers may nest. Default 15: what `maxDepth` leaves inside a frame.
   * @throws MillraceError `bad_request` for anything else, for what nests deeper or refers to itself.
   */
  value(value: unknown, depth = 15): void {
    switch (typeof value) {
      case 'string':
        return this.str(value)
      case 'number':
        return this.number(value)
      case 'boolean':
        return this.bool(value)
      case 'undefined':
        return this.nil()
      case 'object':
        if (value === null) return this.nil()
        if (value instanceof Uint8Array) return this.bin(value)
        if (depth <= 0) throw new MillraceError('bad_request', 'data nests too deep, or refers to itself')
        if (Array.isArray(value)) {
          this.array(value.length)
          for (let i = 0; i < value.length; i++) this.value(value[i], depth - 1)
          return
        }
        if (isPlain(value)) {
          const keys = Object.keys(value)
          this.map(keys.length)
          for (const key of keys) {
            this.str(key)
            this.value((value as { [key: string]: unknown })[key], depth - 1)
          }
          return
        }
        break
      default:
    }
    throw new MillraceError('bad_request', `data must be plain, as JSON is: no ${nameOf(value)}`)
  }

  #byte(value: number): void {
    this.#room(1)
    this.values++
    this.#bytes[this.length++] = value
  }

  /** A type byte of a family of three (8, 16 and 32 bits, from `first` on) and the number behind it, at least `least`. */
  #head(n: number, first: number, least: number): void {
    this.#room(5)
    const bytes = this.#bytes
    if (n < 0x100 && least === 0) {
      bytes[this.length++] = first
      bytes[this.length++] = n
    } else if (n < 0x10000) {
      bytes[this.length++] = first + 1
      bytes[this.length++] = n >> 8
      bytes[this.length++] = n
    } else {
      bytes[this.length] = first + 2
      this.#view.setUint32(this.length + 1, n)
      this.length += 5
    }
  }

  #append(bytes: Uint8Array): void {
    this.#room(bytes.length)
    this.#bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  #room(more: number): void {
    const needed = this.length + more
    if (needed <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.length))
    this.#bytes = grown
    this.#view = new DataView(grown.buffer)
  }
}

function headSize(bytes: number): number {
  return bytes < 0x20 ? 1 : bytes < 0x100 ? 2 : bytes < 0x10000 ? 3 : 5
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}

function nameOf(value: unknown): string {
  return typeof value === 'object' ? (value?.constructor?.name ?? 'object') : typeof value
}

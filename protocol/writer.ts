import { bytesOf, container, keysOf } from './plain-data.ts'

const encoder = new TextEncoder()

/** Up to this many bytes, a loop is faster than a copy through a view. */
const SHORT_COPY = 64

/**
 * A growing buffer to which MessagePack values are appended, each in its smallest form, with the same bytes as
 * msgpackr. It can be reset and used for message after message.
 */
export class Writer {
  /** Bytes written. */
  length = 0
  /** Values written, as `scan` counts them: each container, key and element. */
  values = 0
  #bytes: Uint8Array<ArrayBuffer>
  /** Created when a float64 is written. */
  #view: DataView | undefined

  /** @param size bytes at first. The buffer grows by doubling. Default 1,024. */
  constructor(size = 1_024) {
    this.#bytes = new Uint8Array(size)
  }

  /** What was written, or a section of it, without a copy. Valid until the next write or reset. */
  view(start = 0, end: number = this.length): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(start, end)
  }

  /** A copy of what was written. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length)
  }

  /** Forgets what was written and keeps the memory. */
  reset(): void {
    this.length = this.values = 0
  }

  /** Forgets what was written after the first `length` bytes. `values` stays as it is. */
  truncate(length: number): void {
    this.length = length
  }

  nil(): void {
    this.#head(0xc0, 0)
  }

  bool(value: boolean): void {
    this.#head(value ? 0xc3 : 0xc2, 0)
  }

  /** An integer from 0 to 2^53 - 1. */
  uint(value: number): void {
    if (value < 0x80) this.#head(value, 0)
    else if (value > 0xffffffff) this.number(value)
    else this.#sized(0xcc, value)
  }

  /** Any number: an integer of up to 32 bits as an integer, every other number as float64. */
  number(value: number): void {
    if (value >>> 0 === value) this.uint(value)
    else if (value >> 0 !== value) {
      this.#head(0xcb, 8)
      this.#view ??= new DataView(this.#bytes.buffer)
      this.#view.setFloat64(this.length - 8, value)
    } else if (value >= -0x20) this.#head(value, 0)
    else if (value >= -0x80) this.#head(0xd0, 1, value)
    else if (value >= -0x8000) this.#head(0xd1, 2, value)
    else this.#head(0xd2, 4, value)
  }

  /** Text. Half of a surrogate pair is written as U+FFFD. */
  str(value: string): void {
    const { length } = value
    this.#room(9 + length * 3)
    const bytes = this.#bytes
    // Short text is mostly ASCII, and a loop is then faster than the encoder.
    if (length < 0x20) {
      const start = this.length + 1
      let i = 0
      for (let code: number; i < length && (code = value.charCodeAt(i)) < 0x80; i++) bytes[start + i] = code
      if (i === length) {
        this.values++
        bytes[start - 1] = 0xa0 | length
        this.length = start + length
        return
      }
    }
    // The size of the header is known only after the text. If the smallest is too small, the text is moved.
    const least = this.length + headSize(length)
    const { written } = encoder.encodeInto(value, bytes.subarray(least))
    const start = this.length + headSize(written)
    if (start !== least) bytes.copyWithin(start, least, least + written)
    if (written < 0x20) this.#head(0xa0 | written, 0)
    else this.#sized(0xd9, written)
    this.length += written
  }

  bin(value: Uint8Array): void {
    this.#sized(0xc4, value.length)
    this.#append(value)
  }

  /** The header of an array: `length` values follow. */
  array(length: number): void {
    this.#container(0x90, 0xdc, length)
  }

  /** The header of a map: `length` times a key (`str`) and a value follow. */
  map(length: number): void {
    this.#container(0x80, 0xde, length)
  }

  /** Values that are encoded already. @param values how many, for `values`. Default 1. */
  raw(encoded: Uint8Array, values = 1): void {
    this.values += values
    this.#append(encoded)
  }

  /** Encoded values from `start` to `end` of another writer. `values` is as for `raw`. */
  copy(from: Writer, start: number, end: number, values: number): void {
    const length = end - start
    if (length > SHORT_COPY) return this.raw(from.view(start, end), values)
    this.values += values
    this.#room(length)
    const source = from.#bytes
    const bytes = this.#bytes
    for (let i = 0; i < length; i++) bytes[this.length + i] = source[start + i] as number
    this.length += length
  }

  /**
   * Plain data: null, booleans, numbers, strings, bytes (any view of an ArrayBuffer), arrays, and objects without a
   * class. `undefined` is nil, and is left out of a map.
   * @param depth how deep containers may nest. Default 15, which `maxDepth` leaves inside a frame.
   * @throws MillraceError `bad_request` for other data, and for data that nests deeper or refers to itself.
   */
  value(value: unknown, depth = 15): void {
    if (value == null) return this.nil()
    if (typeof value === 'string') return this.str(value)
    if (typeof value === 'number') return this.number(value)
    if (typeof value === 'boolean') return this.bool(value)
    if (ArrayBuffer.isView(value)) return this.bin(bytesOf(value))
    const plain = container(value, depth)
    if (Array.isArray(plain)) {
      const { length } = plain
      this.array(length)
      for (let i = 0; i < length; i++) this.value(plain[i], depth - 1)
      return
    }
    const keys = keysOf(plain)
    this.map(keys.length)
    for (const key of keys) {
      this.str(key)
      this.value(plain[key], depth - 1)
    }
  }

  /** The first byte of a value, followed by the low `size` bytes of `n`. */
  #head(byte: number, size: number, n = 0): void {
    this.#room(9)
    this.values++
    this.#bytes[this.length++] = byte
    for (let shift = size * 8 - 8; shift >= 0; shift -= 8) this.#bytes[this.length++] = n >> shift
  }

  /** A length or an integer in its smallest size. Its first byte is `first` for 8 bits, one more for 16, two for 32. */
  #sized(first: number, n: number): void {
    if (n < 0x100) this.#head(first, 1, n)
    else if (n < 0x10000) this.#head(first + 1, 2, n)
    else this.#head(first + 2, 4, n)
  }

  /** A number of elements: up to 15 in the first byte `short`, else in 16 bits behind `first` or 32 behind the next. */
  #container(short: number, first: number, length: number): void {
    if (length < 0x10) this.#head(short | length, 0)
    else if (length < 0x10000) this.#head(first, 2, length)
    else this.#head(first + 1, 4, length)
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
    grown.set(this.view())
    this.#bytes = grown
    this.#view = undefined
  }
}

function headSize(bytes: number): number {
  return bytes < 0x20 ? 1 : bytes < 0x100 ? 2 : bytes < 0x10000 ? 3 : 5
}

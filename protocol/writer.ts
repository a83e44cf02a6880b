import { PlainWriter } from './plain-writer.ts'

const encoder = new TextEncoder()

/**
 * The writer of those who write much: one is kept and reset for message after message, takes values apart from each
 * other, and writes text without a copy in between.
 */
export class Writer extends PlainWriter {
  /** What was written, without a copy: valid until the next write or reset. */
  view(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.length)
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
    this.head(0xc0)
  }

  /** An integer from 0 to 2^53 - 1. */
  uint(value: number): void {
    if (value < 0x80) this.head(value)
    else this.number(value)
  }

  override str(value: string): void {
    const { length } = value
    this.room(9 + length * 3)
    const { bytes } = this
    // Short text is mostly ASCII, and a loop over it beats the call into the encoder.
    if (length < 0x20) {
      const start = this.length + 1
      let i = 0
      for (let code: number; i < length && (code = value.charCodeAt(i)) < 0x80; i++) bytes[start + i] = code
      if (i === length) {
        this.strHead(length)
        this.length += length
        return
      }
    }
    // The size of the header is known after the text: room is left for the least, and the text moved when it grew.
    const least = this.length + headSize(length)
    const { written } = encoder.encodeInto(value, bytes.subarray(least))
    const start = this.length + headSize(written)
    if (start !== least) bytes.copyWithin(start, least, least + written)
    this.strHead(written)
    this.length += written
  }

  /** Encoded values as they stand. @param values how many they are, for those who count. Default 1. */
  raw(encoded: Uint8Array, values = 1): void {
    this.values += values
    this.append(encoded)
  }
}

function headSize(bytes: number): number {
  return bytes < 0x20 ? 1 : bytes < 0x100 ? 2 : bytes < 0x10000 ? 3 : 5
}

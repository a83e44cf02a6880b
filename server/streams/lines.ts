const NEWLINE = 0x0a
const RETURN = 0x0d

/** A line did not end within the limit. Reading on would buffer more and more of it. */
export class LineTooLong extends Error {
  override readonly name: string = 'LineTooLong'

  constructor(maxBytes: number) {
    super(`a line is longer than ${maxBytes} bytes`)
  }
}

/**
 * Cuts bytes into lines, independent of the chunks in which they arrive. A line is bytes without its newline. No
 * character is cut, because no byte of a multi-byte character is a newline.
 */
export class LineCutter {
  readonly #maxBytes: number
  readonly #cr: boolean
  /** The last byte was a carriage return that ended a line: a newline after it belongs to it. */
  #afterReturn = false
  #pending: Uint8Array = new Uint8Array(1_024)
  #length = 0

  /**
   * @param maxBytes Longest line, in bytes.
   * @param options.cr Whether a carriage return ends a line too, alone or before a newline. Default false.
   */
  constructor(maxBytes: number, { cr = false }: { cr?: boolean } = {}) {
    this.#maxBytes = maxBytes
    this.#cr = cr
  }

  /**
   * Returns the lines that `chunk` completes. They are views, valid until the next call.
   * @throws LineTooLong
   */
  push(chunk: Uint8Array): Uint8Array[] {
    return this.#cr ? this.#pushWithReturns(chunk) : this.#push(chunk)
  }

  #push(chunk: Uint8Array): Uint8Array[] {
    const lines: Uint8Array[] = []
    let from = 0
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      lines.push(this.#complete(chunk.subarray(from, at)))
      from = at + 1
    }
    this.#append(chunk.subarray(from))
    return lines
  }

  #pushWithReturns(chunk: Uint8Array): Uint8Array[] {
    const lines: Uint8Array[] = []
    let from = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]
      if (byte === NEWLINE && this.#afterReturn) {
        from = at + 1
      } else if (byte === NEWLINE || byte === RETURN) {
        lines.push(this.#complete(chunk.subarray(from, at)))
        from = at + 1
      }
      this.#afterReturn = byte === RETURN
    }
    this.#append(chunk.subarray(from))
    return lines
  }

  /**
   * Returns the bytes after the last newline, once the input has ended; undefined when there are none.
   * @throws LineTooLong
   */
  end(): Uint8Array | undefined {
    return this.#length === 0 ? undefined : this.#complete(new Uint8Array(0))
  }

  #complete(rest: Uint8Array): Uint8Array {
    if (this.#length === 0) {
      if (rest.length > this.#maxBytes) throw new LineTooLong(this.#maxBytes)
      return rest
    }
    this.#append(rest)
    const line = this.#pending.subarray(0, this.#length)
    // The caller has a view of this buffer, so the next line needs a new one.
    this.#pending = new Uint8Array(1_024)
    this.#length = 0
    return line
  }

  /** Copies the bytes, because a view would keep the whole chunk in memory. */
  #append(rest: Uint8Array): void {
    const length = this.#length + rest.length
    if (length > this.#maxBytes) throw new LineTooLong(this.#maxBytes)
    if (length > this.#pending.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#pending.length))
      larger.set(this.#pending.subarray(0, this.#length))
      this.#pending = larger
    }
    this.#pending.set(rest, this.#length)
    this.#length = length
  }
}

const NEWLINE = 0x0a

/** A line that did not end within its limit. Whoever reads on would keep ever more of it. */
export class LineTooLong extends Error {
  override readonly name: string = 'LineTooLong'

  constructor(maxBytes: number) {
    super(`a line is longer than ${maxBytes} bytes`)
  }
}

/**
 * Cuts bytes into lines, wherever the chunks they come in begin and end. A line is given as bytes, without its newline:
 * no character is ever cut, because no byte of a longer character is a newline.
 */
export class LineCutter {
  readonly #maxBytes: number
  #pending: Uint8Array = new Uint8Array(1_024)
  #length = 0

  /** `maxBytes`: longest line. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /**
   * The lines that `chunk` completes. They are views, good until the next call.
   * @throws LineTooLong
   */
  push(chunk: Uint8Array): Uint8Array[] {
    const lines: Uint8Array[] = []
    let from = 0
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      lines.push(this.#complete(chunk.subarray(from, at)))
      from = at + 1
    }
    this.#keep(chunk.subarray(from))
    return lines
  }

  /** What stands behind the last newline, once no more comes; undefined when nothing does. */
  end(): Uint8Array | undefined {
    return this.#length === 0 ? undefined : this.#complete(new Uint8Array(0))
  }

  #complete(rest: Uint8Array): Uint8Array {
    if (this.#length === 0) {
      if (rest.length > this.#maxBytes) throw new LineTooLong(this.#maxBytes)
      return rest
    }
    this.#keep(rest)
    const line = this.#pending.subarray(0, this.#length)
    // The line is handed out, so the next one needs a place of its own.
    this.#pending = new Uint8Array(1_024)
    this.#length = 0
    return line
  }

  /** Copies, since a kept view would hold the whole chunk it is a part of. */
  #keep(rest: Uint8Array): void {
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

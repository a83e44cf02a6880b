const HANDSHAKE_END = Buffer.from('\r\n\r\n')
/** From this opcode on a frame is no part of a message. */
const CONTROL = 0x8

/**
 * Finds the messages in one direction of a WebSocket connection, handshake included, as its bytes come by. Control frames
 * are passed over; extensions are not understood, and none are in use here.
 */
export class WebSocketMessages {
  /** The messages that are complete, and at which byte of all each ends. */
  readonly found: { payload: Buffer; end: number }[] = []
  /** At which byte the handshake ends, once it has. */
  greetingEnd: number | undefined
  #waiting = Buffer.alloc(0)
  /** Bytes before `waiting`. */
  #at = 0
  #parts: Buffer[] = []

  push(chunk: Buffer): void {
    this.#waiting = Buffer.concat([this.#waiting, chunk])
    if (this.greetingEnd === undefined) {
      const end = this.#waiting.indexOf(HANDSHAKE_END)
      if (end < 0) return
      this.#skip(end + HANDSHAKE_END.length)
      this.greetingEnd = this.#at
    }
    for (let frame = frameAt(this.#waiting); frame; frame = frameAt(this.#waiting)) {
      this.#skip(frame.end)
      if (frame.opcode >= CONTROL) continue
      this.#parts.push(frame.payload)
      if (frame.fin) this.found.push({ payload: Buffer.concat(this.#parts.splice(0)), end: this.#at })
    }
  }

  /** At which byte the first `count` messages end, once they have. */
  endOf(count: number): number | undefined {
    return count === 0 ? this.greetingEnd : this.found[count - 1]?.end
  }

  #skip(bytes: number): void {
    this.#waiting = this.#waiting.subarray(bytes)
    this.#at += bytes
  }
}

/** One frame, unmasked. `end`: the byte behind it. */
export type WebSocketFrame = { opcode: number; fin: boolean; payload: Buffer; end: number }

/** The frame at the beginning of `bytes`, if all of it is there. */
export function frameAt(bytes: Buffer): WebSocketFrame | undefined {
  if (bytes.length < 2) return undefined
  const opcode = bytes[0]! & 0x0f
  const fin = (bytes[0]! & 0x80) !== 0
  const masked = (bytes[1]! & 0x80) !== 0
  let length = bytes[1]! & 0x7f
  let at = 2
  if (length === 126) {
    if (bytes.length < 4) return undefined
    length = bytes.readUInt16BE(2)
    at = 4
  } else if (length === 127) {
    if (bytes.length < 10) return undefined
    length = Number(bytes.readBigUInt64BE(2))
    at = 10
  }
  const mask = masked ? bytes.subarray(at, at + 4) : undefined
  if (mask) at += 4
  const end = at + length
  if (bytes.length < end || (mask && mask.length < 4)) return undefined
  const payload = Buffer.from(bytes.subarray(at, end))
  if (mask) for (let i = 0; i < payload.length; i++) payload[i]! ^= mask[i & 3]!
  return { opcode, fin, payload, end }
}

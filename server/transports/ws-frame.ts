/** The first byte of a frame that is a whole message: FIN, and opcode 1 for text, 2 for bytes. */
const TEXT = 0x81
const BINARY = 0x82
/** Instead of a length of 7 bits: one of 16 bits, or of 64, follows. */
const LENGTH_16 = 126
const LENGTH_64 = 127

/**
 * One binary message as a server sends it: a single frame without a mask (RFC 6455, section 5.2). Header and message are
 * one buffer, so that they are one write.
 */
export function binaryFrame(message: Uint8Array): Buffer {
  return frameOf(BINARY, message)
}

/** One text message, in the same form. */
export function textFrame(text: string): Buffer {
  return frameOf(TEXT, Buffer.from(text))
}

function frameOf(first: number, message: Uint8Array): Buffer {
  const { length } = message
  const header = length < LENGTH_16 ? 2 : length < 0x10000 ? 4 : 10
  const frame = Buffer.allocUnsafe(header + length)
  frame[0] = first
  if (header === 2) frame[1] = length
  else if (header === 4) {
    frame[1] = LENGTH_16
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = LENGTH_64
    frame.writeUInt32BE(0, 2)
    frame.writeUInt32BE(length, 6)
  }
  frame.set(message, header)
  return frame
}

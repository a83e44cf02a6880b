import type { Writer } from '../../protocol/writer.ts'

/** Joins encoded texts into one and writes it. The texts are adjacent in `bodies`. */
export function joinTexts(out: Writer, bodies: Uint8Array): void {
  const joined = Buffer.allocUnsafe(bodies.length)
  let length = 0
  for (let at = 0; at < bodies.length; ) {
    const head = bodies[at] as number
    let bytes = head & 0x1f
    let start = at + 1
    if (head >= 0xd9) {
      const size = 1 << (head - 0xd9)
      bytes = 0
      for (let i = 0; i < size; i++) bytes = bytes * 0x100 + (bodies[start + i] as number)
      start += size
    }
    at = start + bytes
    joined.set(bodies.subarray(start, at), length)
    length += bytes
  }
  out.str(joined.toString('utf8', 0, length))
}

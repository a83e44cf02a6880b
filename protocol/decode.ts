import type { DownFrame, UpFrame } from './frames.ts'
import { readDown } from './read-down.ts'
import { readUp } from './read-up.ts'
import { type ScanLimits, scan } from './scan.ts'

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * What a client's message says, all of it checked. Frames of an unknown skippable tag are left out.
 * @throws ProtocolFault 4413 for too many bytes, 4400 for anything malformed.
 */
export function decodeUp(message: Uint8Array, limits: ScanLimits): UpFrame[] {
  return decodeValues(message, limits)
    .map(readUp)
    .filter((frame) => frame !== undefined)
}

/**
 * What a server's message says, all of it checked. Frames of an unknown skippable tag are left out.
 * @throws ProtocolFault 4413 for too many bytes, 4400 for anything malformed.
 */
export function decodeDown(message: Uint8Array, limits: ScanLimits): DownFrame[] {
  return decodeValues(message, limits)
    .map(readDown)
    .filter((frame) => frame !== undefined)
}

// As in the scan: the state of the one message being decoded. The scan has checked it, so nothing here can go wrong.
let bytes: Uint8Array
let view: DataView
let at: number

/** The values of a message, one for each frame. Binary is copied out of the message. */
export function decodeValues(message: Uint8Array, limits: ScanLimits): unknown[] {
  const starts = scan(message, limits)
  bytes = message
  view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  at = 0
  return starts.map(value)
}

function value(): unknown {
  const head = bytes[at++]!
  if (head < 0x80) return head
  if (head < 0x90) return map(head & 15)
  if (head < 0xa0) return array(head & 15)
  if (head < 0xc0) return text(head & 31)
  if (head >= 0xe0) return head - 256
  const here = at
  switch (head) {
    case 0xc2:
      return false
    case 0xc3:
      return true
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return binary(uint(head - 0xc4))
    case 0xca:
      at += 4
      return view.getFloat32(here)
    case 0xcb:
      at += 8
      return view.getFloat64(here)
    case 0xcc:
    case 0xcd:
    case 0xce:
      return uint(head - 0xcc)
    case 0xcf:
    case 0xd3:
      at += 8
      return (head === 0xcf ? view.getUint32(here) : view.getInt32(here)) * 2 ** 32 + view.getUint32(here + 4)
    case 0xd0:
      at += 1
      return view.getInt8(here)
    case 0xd1:
      at += 2
      return view.getInt16(here)
    case 0xd2:
      at += 4
      return view.getInt32(here)
    case 0xd9:
    case 0xda:
    case 0xdb:
      return text(uint(head - 0xd9))
    case 0xdc:
    case 0xdd:
      return array(uint(head - 0xdb))
    case 0xde:
    case 0xdf:
      return map(uint(head - 0xdd))
  }
  return null
}

/** An unsigned integer of 1, 2 or 4 bytes: 2 to the power of `size`. */
function uint(size: number): number {
  const here = at
  at += 1 << size
  return size === 0 ? view.getUint8(here) : size === 1 ? view.getUint16(here) : view.getUint32(here)
}

function array(length: number): unknown[] {
  const result: unknown[] = []
  for (let i = 0; i < length; i++) result.push(value())
  return result
}

function map(length: number): unknown {
  const result: { [key: string]: unknown } = {}
  for (let i = 0; i < length; i++) {
    const key = value() as string
    result[key] = value()
  }
  return result
}

function text(length: number): string {
  return decoder.decode(bytes.subarray(at, (at += length)))
}

function binary(length: number): Uint8Array {
  return new Uint8Array(bytes.subarray(at, (at += length)))
}

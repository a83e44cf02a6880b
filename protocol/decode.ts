import * as CLOSE from './close-code.ts'
import { ProtocolFault } from './errors.ts'
import { wrong } from './fields.ts'
import type { DownFrame, UpFrame } from './frames.ts'
import { readDown } from './read-down.ts'
import { readUp } from './read-up.ts'
import type { ScanLimits } from './scan.ts'

/**
 * What a client's message says, all of it checked. Frames of an unknown skippable tag are left out.
 * @throws ProtocolFault 4413 for too many bytes, 4400 for anything malformed.
 */
export function decodeUp(message: Uint8Array, limits: ScanLimits): UpFrame[] {
  return decodeAll(message, limits, readUp)
}

/**
 * What a server's message says, all of it checked. Frames of an unknown skippable tag are left out.
 * @throws ProtocolFault 4413 for too many bytes, 4400 for anything malformed.
 */
export function decodeDown(message: Uint8Array, limits: ScanLimits): DownFrame[] {
  return decodeAll(message, limits, readDown)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

// The state of the one message being decoded. Decoding never waits, so there is never a second one.
let bytes: Uint8Array
let view: DataView
let at: number
let valuesLeft: number

function decodeAll<Frame>(
  message: Uint8Array,
  limits: ScanLimits,
  read: (value: unknown) => Frame | undefined,
): Frame[] {
  if (message.length > limits.maxBytes) throw new ProtocolFault('message too large', CLOSE.tooLarge)
  if (message.length === 0) wrong('message')
  bytes = message
  view = new DataView(message.buffer, message.byteOffset, message.length)
  at = 0
  const frames: Frame[] = []
  while (at < bytes.length) {
    valuesLeft = limits.maxValues
    announce(1)
    const frame = read(value(limits.maxDepth))
    if (frame !== undefined) frames.push(frame)
  }
  return frames
}

/** One value, announced before. `depth`: how many containers may still nest. */
function value(depth: number): unknown {
  const head = view.getUint8(take(1))
  if (head < 0x80) return head
  if (head < 0x90) return map(head & 15, depth)
  if (head < 0xa0) return array(head & 15, depth)
  if (head < 0xc0) return text(head & 31)
  if (head >= 0xe0) return head - 256
  switch (head) {
    case 0xc0:
      return null
    case 0xc2:
    case 0xc3:
      return head === 0xc3
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return binary(uint(head - 0xc4))
    case 0xca:
      return view.getFloat32(take(4))
    case 0xcb:
      return view.getFloat64(take(8))
    case 0xcc:
    case 0xcd:
    case 0xce:
      return uint(head - 0xcc)
    case 0xcf:
      return long(view.getUint32(take(4)))
    case 0xd0:
      return view.getInt8(take(1))
    case 0xd1:
      return view.getInt16(take(2))
    case 0xd2:
      return view.getInt32(take(4))
    case 0xd3:
      return long(view.getInt32(take(4)))
    case 0xd9:
    case 0xda:
    case 0xdb:
      return text(uint(head - 0xd9))
    case 0xdc:
    case 0xdd:
      return array(uint(head - 0xdb), depth)
    case 0xde:
    case 0xdf:
      return map(uint(head - 0xdd), depth)
    default:
      return wrong('type')
  }
}

/** Moves on by `length` bytes. Returns where they begin. */
function take(length: number): number {
  const start = at
  at += length
  return at > bytes.length ? wrong('length') : start
}

/** `n` values are to come: a huge length is refused at its header. */
function announce(n: number): void {
  if ((valuesLeft -= n) < 0) wrong('length')
}

/** An unsigned integer of 1, 2 or 4 bytes, that is 2 to the power of `size`. */
function uint(size: number): number {
  const start = take(1 << size)
  return size === 0 ? view.getUint8(start) : size === 1 ? view.getUint16(start) : view.getUint32(start)
}

/** An integer of 64 bits, within what a double holds exactly. */
function long(high: number): number {
  const n = high * 2 ** 32 + view.getUint32(take(4))
  return Number.isSafeInteger(n) ? n : wrong('integer')
}

function array(length: number, depth: number): unknown[] {
  enter(length, depth)
  const result: unknown[] = []
  for (let i = 0; i < length; i++) result.push(value(depth - 1))
  return result
}

function map(length: number, depth: number): unknown {
  enter(length * 2, depth)
  const result: { [key: string]: unknown } = {}
  for (let i = 0; i < length; i++) {
    const key = value(0)
    if (typeof key !== 'string' || key === '__proto__') wrong('key')
    result[key] = value(depth - 1)
  }
  return result
}

function enter(values: number, depth: number): void {
  if (depth <= 0) wrong('depth')
  announce(values)
}

function text(length: number): string {
  const start = take(length)
  if (length < 16) {
    // A token is mostly a few letters: quicker than the call into the decoder.
    let short = ''
    let i = start
    while (i < at && bytes[i]! < 0x80) short += String.fromCharCode(bytes[i++]!)
    if (i === at) return short
  }
  try {
    return utf8.decode(bytes.subarray(start, at))
  } catch {
    return wrong('text')
  }
}

/** A copy: what is kept of a message must not keep all of it. */
function binary(length: number): Uint8Array {
  const start = take(length)
  return new Uint8Array(bytes.subarray(start, at))
}

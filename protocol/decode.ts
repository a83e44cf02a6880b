import * as CLOSE from './close-code.ts'
import { ProtocolFault } from './errors.ts'
import { wrong } from './fields.ts'
import type { DownFrame, UpFrame } from './frames.ts'
import { readDown } from './read-down.ts'
import { readUp } from './read-up.ts'
import type { ScanLimits } from './scan.ts'

/**
 * Decodes a client's message and checks all of it. Frames of an unknown skippable tag are left out.
 * @throws ProtocolFault 4413 for too many bytes, 4400 for anything malformed.
 */
export function decodeUp(message: Uint8Array, limits: ScanLimits): UpFrame[] {
  return decodeAll(message, limits, readUp)
}

/**
 * Decodes a server's message and checks all of it. Frames of an unknown skippable tag are left out.
 * @throws ProtocolFault 4413 for too many bytes, 4400 for anything malformed.
 */
export function decodeDown(message: Uint8Array, limits: ScanLimits): DownFrame[] {
  return decodeAll(message, limits, readDown)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

// The state of the message being decoded. Decoding is synchronous, so there is only one message at a time.
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
  if (!message.length) wrong('message')
  bytes = message
  view = new DataView(bytes.buffer, bytes.byteOffset)
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

/** Reads one value, which is already announced. `depth`: how many more containers may nest. */
function value(depth: number): unknown {
  const head = bytes[take(1)]!
  if (head < 0x80) return head
  if (head < 0x90) return map(head & 15, depth)
  if (head < 0xa0) return array(head & 15, depth)
  if (head < 0xc0) return text(head & 31)
  if (head >= 0xe0) return head - 256
  if (head >= 0xde) return map(integer(head - 0xdd), depth)
  if (head >= 0xdc) return array(integer(head - 0xdb), depth)
  if (head >= 0xd9) return text(integer(head - 0xd9))
  if (head >= 0xd0) return head < 0xd4 ? integer(head - 0xd0, true) : wrong('type')
  if (head >= 0xcc) return integer(head - 0xcc)
  if (head === 0xcb) return view.getFloat64(take(8))
  if (head === 0xca) return view.getFloat32(take(4))
  if (head >= 0xc4 && head < 0xc7) return binary(integer(head - 0xc4))
  if (head === 0xc0) return null
  if (head === 0xc2) return false
  if (head === 0xc3) return true
  return wrong('type')
}

/** Advances by `length` bytes. Returns where they begin. */
function take(length: number): number {
  const start = at
  at += length
  return at > bytes.length ? wrong('length') : start
}

/** Counts `n` values before they are read, so that a huge length is refused at its header. */
function announce(n: number): void {
  if ((valuesLeft -= n) < 0) wrong('length')
}

/** Reads an integer of 2 ** `size` bytes: 1, 2, 4 or 8. Only integers that a double represents exactly are accepted. */
function integer(size: number, isSigned = false): number {
  let i = take(1 << size)
  let n = bytes[i]!
  if (isSigned) n = (n << 24) >> 24
  while (++i < at) n = n * 256 + bytes[i]!
  return Number.isSafeInteger(n) ? n : wrong('integer')
}

function array(length: number, depth: number): unknown[] {
  enter(length, depth)
  const result = Array<unknown>(length)
  for (let i = 0; i < length; i++) result[i] = value(depth - 1)
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
  let i = take(length)
  if (length < 16) {
    // A token is mostly a few ASCII letters: this loop is faster than a call of the decoder.
    let short = ''
    while (i < at && bytes[i]! < 0x80) short += String.fromCharCode(bytes[i++]!)
    if (i === at) return short
  }
  try {
    return utf8.decode(bytes.subarray(at - length, at))
  } catch {
    return wrong('text')
  }
}

/** Copies the bytes, so that keeping them does not keep the whole message in memory. */
function binary(length: number): Uint8Array {
  return new Uint8Array(bytes.subarray(take(length), at))
}

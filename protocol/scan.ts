import { CLOSE, ProtocolFault } from './errors.ts'

/** The limits of a message. */
export type ScanLimits = {
  /** Deepest nesting of arrays and maps, including the frame itself. */
  maxDepth: number
  /** Most values in one frame. Each container, key and element counts. */
  maxValues: number
  /** Most bytes in the whole message. */
  maxBytes: number
}

// The state of the scan is here and not in an object, so that a scan allocates nothing but its result.
let bytes: Uint8Array
let at: number
let valuesLeft: number

/**
 * Checks the structure of a whole message, frames back to back, before anything in it is decoded. It accepts only the
 * types of the protocol, string keys and well-formed text, within the limits. A decoder can then rely on the structure,
 * and allocates no more than the message justifies.
 *
 * @returns Where each frame begins.
 * @throws ProtocolFault 4413 for too many bytes, 4400 for everything else.
 */
export function scan(message: Uint8Array, limits: ScanLimits): number[] {
  begin(message, limits)
  if (message.length === 0) refuse('a message is empty')
  const starts: number[] = []
  while (at < message.length) {
    const head = message[at]!
    if (head >> 4 !== 9 && head !== 0xdc && head !== 0xdd) refuse('a frame is not an array')
    starts.push(at)
    valuesLeft = limits.maxValues
    count(1)
    walk(limits.maxDepth)
  }
  return starts
}

/**
 * Checks the structure of exactly one value, as `scan` does for a message.
 *
 * @returns The number of values in it, including itself.
 * @throws ProtocolFault as `scan` does.
 */
export function scanValue(value: Uint8Array, limits: ScanLimits): number {
  begin(value, limits)
  count(1)
  walk(limits.maxDepth)
  if (at < value.length) refuse('a value is followed by more')
  return limits.maxValues - valuesLeft
}

/** Returns the bytes of the element at `index` of a frame that `scan` accepted; empty if the frame is shorter. */
export function element(frame: Uint8Array, index: number): Uint8Array {
  begin(frame, { maxDepth: Infinity, maxValues: Infinity, maxBytes: Infinity })
  const head = frame[at++]!
  const length = head === 0xdc ? uint(2) : head === 0xdd ? uint(4) : head & 15
  if (index >= length) return frame.subarray(0, 0)
  for (let i = 0; i < index; i++) walk(Infinity)
  const from = at
  walk(Infinity)
  return frame.subarray(from, at)
}

function begin(message: Uint8Array, limits: ScanLimits): void {
  if (message.length > limits.maxBytes)
    throw new ProtocolFault(`a message is larger than ${limits.maxBytes} bytes`, CLOSE.tooLarge)
  bytes = message
  at = 0
  valuesLeft = limits.maxValues
}

function refuse(what: string): never {
  throw new ProtocolFault(what)
}

/** Checks one value, which the caller has counted. `depth`: how many more containers may nest. */
function walk(depth: number): void {
  const head = bytes[at++]
  if (head === undefined) refuse('a message is cut short')
  if (head < 0x80 || head >= 0xe0) return
  if (head < 0x90) return map(head & 15, depth)
  if (head < 0xa0) return array(head & 15, depth)
  if (head < 0xc0) return text(head & 31)
  switch (head) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return
    case 0xcc: // uint8
    case 0xd0: // int8
      return skip(1)
    case 0xcd:
    case 0xd1:
      return skip(2)
    case 0xca: // float32
    case 0xce:
    case 0xd2:
      return skip(4)
    case 0xcb: // float64
      return skip(8)
    case 0xcf: // uint64
    case 0xd3: // int64
      return long(head)
    case 0xc4: // bin
      return skip(uint(1))
    case 0xc5:
      return skip(uint(2))
    case 0xc6:
      return skip(uint(4))
    case 0xd9: // str
      return text(uint(1))
    case 0xda:
      return text(uint(2))
    case 0xdb:
      return text(uint(4))
    case 0xdc:
      return array(uint(2), depth)
    case 0xdd:
      return array(uint(4), depth)
    case 0xde:
      return map(uint(2), depth)
    case 0xdf:
      return map(uint(4), depth)
  }
  refuse(head === 0xc1 ? 'the byte 0xc1 is not allowed' : 'an extension type is not allowed')
}

function array(length: number, depth: number): void {
  if (depth <= 0) refuse('a value is nested too deep')
  count(length)
  for (let i = 0; i < length; i++) walk(depth - 1)
}

function map(length: number, depth: number): void {
  if (depth <= 0) refuse('a value is nested too deep')
  count(length * 2)
  for (let i = 0; i < length; i++) {
    key()
    walk(depth - 1)
  }
}

function key(): void {
  const head = bytes[at++]!
  if (head >> 5 !== 5 && (head < 0xd9 || head > 0xdb)) refuse('a key is not a string')
  const length = head < 0xc0 ? head & 31 : uint(head === 0xd9 ? 1 : head === 0xda ? 2 : 4)
  text(length)
  // The first comparison rules out almost every other key.
  if (bytes[at - 1] === 0x5f && length === 9 && isProto()) refuse('the key __proto__ is not allowed')
}

/** Returns whether the last nine bytes are `__proto__`, the one key that an object does not store as its own. */
function isProto(): boolean {
  for (let i = 0; i < 9; i++) if (bytes[at - 9 + i] !== '__proto__'.charCodeAt(i)) return false
  return true
}

/** Counts `n` values before any of them is checked, so that a huge length is refused at its header. */
function count(n: number): void {
  if ((valuesLeft -= n) < 0) refuse('a frame has too many values')
}

function uint(size: 1 | 2 | 4): number {
  let n = 0
  for (let i = 0; i < size; i++) n = n * 256 + bytes[at++]!
  // Beyond the end, a byte is undefined and the sum is NaN.
  if (at > bytes.length) refuse('a message is cut short')
  return n
}

function skip(length: number): void {
  at += length
  if (at > bytes.length) refuse('a message is cut short')
}

/** Checks an integer of 64 bits, which must be one that a double represents exactly. */
function long(head: number): void {
  const unsigned = uint(4)
  const low = uint(4)
  const high = head === 0xd3 ? unsigned | 0 : unsigned
  if (high > 0x1fffff || high < -0x200000 || (high === -0x200000 && low === 0)) refuse('an integer is beyond 2^53 - 1')
}

/** Checks text of `length` bytes: UTF-8 without overlong forms, surrogates, and code points beyond U+10FFFF. */
function text(length: number): void {
  const source = bytes
  let i = at
  const end = i + length
  if (end > source.length) refuse('a message is cut short')
  while (i < end) {
    // Four bytes of ASCII at a time: most text is nothing else.
    while (i + 4 <= end && (source[i]! | source[i + 1]! | source[i + 2]! | source[i + 3]!) < 0x80) i += 4
    if (i === end) break
    const lead = source[i++]!
    if (lead < 0x80) continue
    const more = lead < 0xc2 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 0
    if (more === 0 || i + more > end) refuse('a string is not UTF-8')
    const next = source[i]!
    const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
    const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
    if (next < least || next > most) refuse('a string is not UTF-8')
    if (more > 1 && source[i + 1]! >> 6 !== 2) refuse('a string is not UTF-8')
    if (more > 2 && source[i + 2]! >> 6 !== 2) refuse('a string is not UTF-8')
    i += more
  }
  at = end
}

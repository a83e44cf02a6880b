import { Packr } from 'msgpackr'
import { MillraceError } from '../protocol/errors.ts'
import type { UpFrame } from '../protocol/frames.ts'
import type { Limits } from '../protocol/limits.ts'
import { readUp } from '../protocol/read-up.ts'
import { type ScanLimits, scan, scanValue } from '../protocol/scan.ts'

const packr = new Packr({
  useRecords: false,
  variableMapSize: true,
  encodeUndefinedAsNil: true,
  int64AsType: 'number',
})

/** A client's frame, and its bytes as received. */
export type ReceivedFrame = { frame: UpFrame; bytes: Uint8Array }

/**
 * What a client's message says, all of it checked before any of it may be applied. Frames of an unknown skippable tag
 * are left out. Binary data aliases the message.
 * @throws ProtocolFault 4413 for too many bytes, 4400 for anything malformed.
 */
export function decodeClient(message: Uint8Array, limits: ScanLimits): ReceivedFrame[] {
  const starts = scan(message, limits)
  const received: ReceivedFrame[] = []
  const values = packr.unpackMultiple(message) as unknown[]
  values.forEach((value, i) => {
    const frame = readUp(value)
    if (frame !== undefined) received.push({ frame, bytes: message.subarray(starts[i], starts[i + 1]) })
  })
  return received
}

/** What bounds a payload: an event's data, the data of an END, an input's echo. */
export type PayloadLimits = Pick<Limits, 'maxEvent' | 'maxDepth' | 'maxValues'>

/**
 * Containers that may stand around a payload on the wire: an open question's data travels again in the frame, the info,
 * the list and, for a part, the pair of an OPENED.
 */
const WRAPPING = 4

/**
 * Packs what an actor said for the log. The bytes are the caller's own.
 * @throws MillraceError `bad_event` for what cannot travel: anything that is not plain data, broken text, too deep, too
 *   many values, too large.
 */
export function packPayload(value: unknown, limits: PayloadLimits): Uint8Array {
  const state: Survey = { valuesLeft: limits.maxValues, bytesLeft: limits.maxEvent, limits }
  survey(value, limits.maxDepth - WRAPPING, state)
  let packed: Uint8Array
  try {
    packed = new Uint8Array(packr.pack(value))
  } catch (cause) {
    throw new MillraceError('bad_event', 'the data of an event cannot be encoded: make it plain, as JSON is', { cause })
  }
  if (packed.length > limits.maxEvent) tooLarge(limits)
  const { maxDepth, maxValues, maxEvent } = limits
  try {
    scanValue(packed, { maxDepth: maxDepth - WRAPPING, maxValues, maxBytes: maxEvent })
  } catch (cause) {
    throw new MillraceError('bad_event', `the data of an event cannot travel: ${(cause as Error).message}`, {
      cause,
    })
  }
  return packed
}

/** The value that `packPayload` packed. */
export function unpackPayload(bytes: Uint8Array): unknown {
  return packr.unpack(bytes)
}

type Survey = { valuesLeft: number; bytesLeft: number; limits: PayloadLimits }

/**
 * Walks a value before it is packed, and stops at the first thing that may not travel: the packer itself would follow a
 * cycle to the end of the stack, copy gigabytes, or encode a Date in a way that only itself can read.
 */
function survey(value: unknown, depth: number, state: Survey): void {
  if (--state.valuesLeft < 0) tooMany(state.limits)
  switch (typeof value) {
    case 'string':
      if (!isWellFormed(value))
        bad('it has text with half of a surrogate pair (an emoji cut in two): cut text at code points')
      return take(value.length, state)
    case 'number':
    case 'boolean':
    case 'undefined':
      return
    case 'object':
      break
    default:
      bad(`a ${typeof value} cannot travel: send a number, a string or plain data`)
  }
  if (value === null) return
  if (value instanceof Uint8Array) return take(value.length, state)
  if (depth <= 0)
    bad(`it nests deeper than maxDepth (${state.limits.maxDepth}) allows, or refers to itself: flatten it`)
  if (Array.isArray(value)) {
    if (value.length > state.valuesLeft) tooMany(state.limits)
    // By index, so that the holes of a sparse array count too.
    for (let i = 0; i < value.length; i++) survey(value[i], depth - 1, state)
    return
  }
  if (!isPlain(value)) {
    const name = value.constructor?.name ?? 'an object'
    bad(
      `${name} is not plain data: send its fields as an object, a time as a number or ISO string, a Set or Map as an array`,
    )
  }
  for (const key of Object.keys(value)) {
    if (key === '__proto__') bad('the key __proto__ is not allowed: rename it')
    survey(key, depth, state)
    survey((value as { [key: string]: unknown })[key], depth - 1, state)
  }
}

function take(bytes: number, state: Survey): void {
  if ((state.bytesLeft -= bytes) < 0) tooLarge(state.limits)
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

function isWellFormed(value: string): boolean {
  return !/\p{Surrogate}/u.test(value)
}

function tooMany({ maxValues }: PayloadLimits): never {
  return bad(`it has more than maxValues (${maxValues}) values: split it into several events`)
}

function tooLarge({ maxEvent }: PayloadLimits): never {
  return bad(`it is larger than maxEvent (${maxEvent} bytes): send it in pieces, or a reference to it`)
}

function bad(rule: string): never {
  throw new MillraceError('bad_event', `the data of an event cannot travel: ${rule}`)
}

import { Packr } from 'msgpackr'
import { MillraceError } from '../../protocol/errors.ts'
import type { UpFrame } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS, type Limits } from '../../protocol/limits.ts'
import { readUp } from '../../protocol/read-up.ts'
import { type ScanLimits, scan, scanValue } from '../../protocol/scan.ts'
import { Writer } from '../../protocol/writer.ts'
import { isWellFormed } from '../text.ts'

const packr = new Packr({
  useRecords: false,
  variableMapSize: true,
  encodeUndefinedAsNil: true,
  int64AsType: 'number',
  // Data kept from a message must not keep the whole message in memory.
  copyBuffers: true,
})

/** A client's frame, and its bytes as received. */
export type ReceivedFrame = { frame: UpFrame; bytes: Uint8Array }

/**
 * Decodes a client's message. All of it is checked before any of it may be applied. Frames of an unknown skippable tag
 * are left out.
 * @param admit Receives the number of frames before any is decoded. It may throw.
 * @throws ProtocolFault 4413 for too many bytes, 4400 for anything malformed.
 */
export function decodeClient(
  message: Uint8Array,
  limits: ScanLimits,
  admit?: (frames: number) => void,
): ReceivedFrame[] {
  const starts = scan(message, limits)
  admit?.(starts.length)
  const received: ReceivedFrame[] = []
  const values = packr.unpackMultiple(message) as unknown[]
  values.forEach((value, i) => {
    const frame = readUp(value)
    if (frame !== undefined) received.push({ frame, bytes: message.subarray(starts[i], starts[i + 1]) })
  })
  return received
}

/** The limits of a payload: the data of an event or of an END. */
export type PayloadLimits = Pick<Limits, 'maxEvent' | 'maxDepth' | 'maxValues'>

/**
 * Containers that may surround a payload on the wire. A lane's data is sent again in an OPENED, inside its frame, info,
 * list and pair.
 */
const WRAPPING = 4

/** Values that a frame adds to its payload: the frame, its elements, and those of the info around a list. */
const FRAME_VALUES = 32

/**
 * Packs an actor's data for the log. The caller owns the bytes. A scan accepts them wherever a payload may stand.
 * @throws MillraceError `bad_event` for data that cannot be sent: not plain data, text that is not well-formed, too
 *   deep, too many values, too large. The message names the rule.
 */
export function packPayload(value: unknown, limits: PayloadLimits): Uint8Array {
  // A getter in the data can call this function again, so the shared writer is taken while it is in use.
  const writer = idle ?? new PayloadWriter()
  idle = undefined
  writer.reset()
  writer.limits = limits
  try {
    writer.value(value, limits.maxDepth - WRAPPING)
    return writer.take()
  } catch (cause) {
    if (MillraceError.is(cause, 'bad_event')) throw cause
    const message = MillraceError.is(cause) ? cause.message : 'data cannot be sent: reading it threw an error'
    throw new MillraceError('bad_event', message, { cause })
  } finally {
    idle = writer
  }
}

/** Unpacks all values in `bytes`, which are adjacent. */
export function unpackAll(bytes: Uint8Array): unknown[] {
  return packr.unpackMultiple(bytes) as unknown[]
}

/** Unpacks a value that `packPayload` packed. */
export function unpackPayload(bytes: Uint8Array): unknown {
  return packr.unpack(bytes)
}

/** Returns the number of values in a payload. */
export function countValues(packed: Uint8Array, { maxEvent, maxDepth, maxValues }: PayloadLimits): number {
  return scanValue(packed, { maxBytes: maxEvent, maxDepth, maxValues })
}

/** A writer that throws as soon as a limit is exceeded. Data of any size costs no more than the limits allow. */
class PayloadWriter extends Writer {
  limits: PayloadLimits = DEFAULT_LIMITS

  override value(value: unknown, depth: number): void {
    const { maxValues } = this.limits
    if (this.values + FRAME_VALUES >= maxValues)
      refuse(`it has more than maxValues (${maxValues}) values: split it into several events`)
    super.value(value, depth)
    this.#check(0)
  }

  override str(value: string): void {
    this.#check(value.length)
    if (!isWellFormed(value)) refuse('its text has a lone surrogate: cut text between code points')
    super.str(value)
  }

  override bin(value: Uint8Array): void {
    this.#check(value.length)
    super.bin(value)
  }

  #check(more: number): void {
    const { maxEvent } = this.limits
    if (this.length + more > maxEvent)
      refuse(`it is larger than maxEvent (${maxEvent} bytes): send it in pieces, or send a reference`)
  }
}

let idle: PayloadWriter | undefined

function refuse(rule: string): never {
  throw new MillraceError('bad_event', `data cannot be sent: ${rule}`)
}

import { Packr } from 'msgpackr'
import { decodeDown, decodeUp } from '../../protocol/decode.ts'
import { encodeDown, encodeUp } from '../../protocol/encode.ts'
import { ProtocolFault } from '../../protocol/errors.ts'
import type { DownFrame, UpFrame } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { readDown } from '../../protocol/read-down.ts'
import { type ScanLimits, scan } from '../../protocol/scan.ts'
import { decodeClient } from '../../server/log/payload.ts'

export type Direction = 'up' | 'down'

const { maxDepth, maxValues, maxMessage, maxDown } = DEFAULT_LIMITS

/** What a message of each direction may be at most, by default. */
export const scanLimits: Record<Direction, ScanLimits> = {
  up: { maxDepth, maxValues, maxBytes: maxMessage },
  down: { maxDepth, maxValues, maxBytes: maxDown },
}

/** msgpackr as the server configures it. */
export const msgpackr: Packr = new Packr({
  useRecords: false,
  variableMapSize: true,
  encodeUndefinedAsNil: true,
  int64AsType: 'number',
})

type Decode = (message: Uint8Array) => unknown[]

/** The ways that a message of one direction is read: the strict decoder, and msgpackr behind the scan. */
export const decoders: Record<Direction, { own: Decode; scanned: Decode }> = {
  up: {
    own: (message) => decodeUp(message, scanLimits.up),
    scanned: (message) => decodeClient(message, scanLimits.up).map(({ frame }) => frame),
  },
  down: {
    own: (message) => decodeDown(message, scanLimits.down),
    scanned: (message) => {
      scan(message, scanLimits.down)
      return (msgpackr.unpackMultiple(message) as unknown[]).map(readDown).filter((frame) => frame !== undefined)
    },
  },
}

export const encoders: Record<Direction, (frames: unknown[]) => Uint8Array> = {
  up: (frames) => encodeUp(frames as UpFrame[]),
  down: (frames) => encodeDown(frames as DownFrame[]),
}

/** The frames that `decode` makes of a message, or the close code with which it refuses. Any other error is passed on. */
export function outcomeOf(decode: () => unknown[]): unknown[] | number {
  try {
    return decode()
  } catch (error) {
    if (error instanceof ProtocolFault) return error.closeCode
    throw error
  }
}

/**
 * The same with binary as `{ $bin: hex }`, whatever class of bytes it has, and without properties that are undefined:
 * comparable, and plain JSON.
 */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return { $bin: hex(value) }
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  const present = Object.entries(value).filter(([, one]) => one !== undefined)
  return Object.fromEntries(present.map(([key, one]) => [key, plain(one)]))
}

/** The reverse of `plain`. */
export function binary(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(binary)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value)
  if (entries.length === 1 && entries[0]?.[0] === '$bin') return bytes(entries[0][1] as string)
  return Object.fromEntries(entries.map(([key, one]) => [key, binary(one)]))
}

export function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))
}

export function hex(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.length).toString('hex')
}

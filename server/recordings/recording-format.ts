import { z } from 'zod'
import { decodeDown } from '../../protocol/decode.ts'
import { encodeDown } from '../../protocol/encode.ts'
import { MillraceError } from '../../protocol/errors.ts'
import type { DownFrame } from '../../protocol/frames.ts'
import { scanValue } from '../../protocol/scan.ts'
import { Writer } from '../../protocol/writer.ts'
import { unpackPayload } from '../log/payload.ts'

/**
 * The form of a recording: a line of text with the version, and then blocks. A block is its length, in four bytes, and
 * that many bytes. The first has the facts of the run, as one map. Each of the others is a message as a server sends it.
 */
const VERSION = 1
export const FIRST_LINE: Uint8Array = new TextEncoder().encode(`millrace recording ${VERSION}\n`)
/** The bytes of the length of a block. */
export const LENGTH_BYTES = 4
/** The most bytes of one block, and of the whole file. */
export const MAX_BLOCK: number = 8 * 1_048_576
export const MAX_FILE: number = 1_024 * 1_048_576

const LIMITS = { maxBytes: MAX_BLOCK, maxDepth: 80, maxValues: 1_048_576 }
const OTHER_VERSION = /^millrace recording (\d{1,9})\n/

/** The facts of a recorded run, besides what it said. */
export type RecordingFacts = {
  /** The name of its actor. */
  readonly actor: string
  /** When the recording was made, in epoch milliseconds. */
  readonly recordedAt: number
  /** When the run began, in epoch milliseconds, if that is known. */
  readonly startedAt?: number | undefined
  /** Its input, if that is known and was not left out. */
  readonly input?: unknown
  /** The `meta` of its start. Absent: it had none, it is not known, or it was left out. */
  readonly meta?: { readonly [name: string]: unknown } | undefined
  /** What clients sent to the run was left out. */
  readonly redacted?: boolean | undefined
}

const facts: z.ZodType<RecordingFacts> = z.object({
  actor: z.string().min(1).max(256),
  recordedAt: z.number(),
  startedAt: z.number().optional(),
  input: z.unknown().optional(),
  meta: z.record(z.string(), z.unknown()).optional(),
  redacted: z.boolean().optional(),
})

/** The block of the facts. */
export function factsBlock(given: RecordingFacts): Uint8Array {
  const present = Object.entries(given).filter(([, value]) => value !== undefined)
  const writer = new Writer()
  writer.value(Object.fromEntries(present), LIMITS.maxDepth)
  return block(writer.view())
}

/** The block of some frames. */
export function framesBlock(frames: readonly DownFrame[]): Uint8Array {
  return block(encodeDown(frames))
}

function block(bytes: Uint8Array): Uint8Array {
  const all = Buffer.allocUnsafe(LENGTH_BYTES + bytes.length)
  all.writeUInt32BE(bytes.length)
  all.set(bytes, LENGTH_BYTES)
  return all
}

/** @throws MillraceError `bad_request` for what does not begin as a recording of this version does. */
export function checkFirstLine(bytes: Uint8Array, path: string): void {
  const text = Buffer.from(bytes).toString('latin1')
  const version = OTHER_VERSION.exec(text)?.[1]
  if (version === String(VERSION)) return
  if (version === undefined) throw new MillraceError('bad_request', `${path} is not a recording of millrace`)
  throw new MillraceError(
    'bad_request',
    `${path} is a recording of version ${version}, and this release reads version ${VERSION}: use the release that made it`,
  )
}

/** @throws what `damaged` makes of the problem. */
export function readFacts(bytes: Uint8Array, damaged: (what: string) => MillraceError): RecordingFacts {
  const read = (): unknown => {
    scanValue(bytes, LIMITS)
    return unpackPayload(bytes)
  }
  const { data } = facts.safeParse(attempt(read, damaged))
  if (!data) throw damaged('the facts of its run are not as they should be')
  return data
}

/** @throws what `damaged` makes of the problem. */
export function readFrames(bytes: Uint8Array, damaged: (what: string) => MillraceError): DownFrame[] {
  return attempt(() => decodeDown(bytes, LIMITS), damaged)
}

function attempt<T>(read: () => T, damaged: (what: string) => MillraceError): T {
  try {
    return read()
  } catch (error) {
    throw damaged(`a part of it cannot be read (${error instanceof Error ? error.message : String(error)})`)
  }
}

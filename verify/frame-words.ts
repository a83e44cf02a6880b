import type { DownFrame, UpFrame } from '../protocol/frames.ts'
import { shortened } from './mismatch.ts'

/** How many frames a report shows. */
const SHOWN = 4
const FRAME_CHARACTERS = 120

/** A frame in one line: its name as PROTOCOL.md has it, and what it says. */
export function frameWords({ kind, ...rest }: UpFrame | DownFrame): string {
  return `${kind.toUpperCase()} ${shortened(JSON.stringify(rest, readable), FRAME_CHARACTERS)}`
}

/** The last frames that came, in one line. */
export function lastFrames(frames: readonly (UpFrame | DownFrame)[]): string {
  if (frames.length === 0) return 'no frame came'
  return `last came ${frames.slice(-SHOWN).map(frameWords).join(', ')}`
}

function readable(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? `h'${Buffer.from(value).toString('hex')}'` : value
}

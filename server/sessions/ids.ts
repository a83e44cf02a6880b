import type { Runtime } from '../../protocol/runtime.ts'

/** Ids have 128 random bits, so that nobody can guess a run. */
const ID_BYTES = 16

/** A new id: of a run, or of a session. */
export function newId(prefix: 'r' | 's', runtime: Runtime): string {
  return `${prefix}_${bytesOf(runtime.randomBytes(ID_BYTES)).toString('base64url')}`
}

/** The same memory as a buffer, not a copy. */
export function bytesOf({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length)
}

import { createHash } from 'node:crypto'

/** A script: its text, and the hash by which Redis knows it. */
export type Script = { readonly text: string; readonly hash: string }

/** The script with this text. */
export function scriptOf(text: string): Script {
  return { text, hash: createHash('sha1').update(text).digest('hex') }
}

import { realpathSync } from 'node:fs'
import { relative, sep } from 'node:path'

/**
 * The command that calls this command line again from the same folder: `npx millrace` for an installed package, and
 * `node` with a path for a checkout.
 */
export function invocation(script: string = process.argv[1] ?? 'millrace', cwd: string = process.cwd()): string {
  const path = realpathSync(script)
  if (path.split(sep).includes('node_modules')) return 'npx millrace'
  const fromHere = relative(cwd, path)
  const shown = fromHere.startsWith('..') ? path : fromHere
  return `node ${/[^\w./\\:-]/.test(shown) ? `"${shown}"` : shown}`
}

/** A word of a printed command, as a shell takes it. */
export function shellWord(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

import { realpathSync } from 'node:fs'
import { relative, sep } from 'node:path'

/**
 * How to call this command line once more from the same folder, as it would be typed: through npx where it is installed,
 * by its path where it runs from a checkout.
 */
export function invocation(script: string = process.argv[1] ?? 'millrace', cwd: string = process.cwd()): string {
  const path = realpathSync(script)
  if (path.split(sep).includes('node_modules')) return 'npx millrace'
  const fromHere = relative(cwd, path)
  const shown = fromHere.startsWith('..') ? path : fromHere
  return `node ${/[^\w./\\:-]/.test(shown) ? `"${shown}"` : shown}`
}

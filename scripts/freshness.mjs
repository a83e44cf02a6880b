// Whether `dist/` was built from what is here now, as `make` would judge it: nothing was written since.
import { readdirSync, statSync } from 'node:fs'

/** What a build reads, from the root. Other folders, such as `test/`, are in no package. */
const INPUTS = [
  ...['protocol', 'formats', 'client-sdk', 'adapters', 'compat', 'react', 'dashboard', 'server', 'verify'],
  ...['scripts', 'tsconfig.json', 'tsconfig.build.json', 'package.json', 'package-lock.json'],
  'node_modules/.package-lock.json',
]

/** @param root the folder of the package, with a slash at its end. */
export function isFresh(root) {
  const builtAt = lookAt(`${root}dist`)?.mtimeMs ?? 0
  return INPUTS.every((input) => newest(`${root}${input}`) < builtAt)
}

/** When a file was written, or anything in a folder. A name that goes away changes its folder. */
function newest(path) {
  const found = lookAt(path)
  if (!found?.isDirectory()) return found?.mtimeMs ?? 0
  return Math.max(found.mtimeMs, ...readdirSync(path).map((name) => newest(`${path}/${name}`)))
}

function lookAt(path) {
  return statSync(path, { throwIfNoEntry: false })
}

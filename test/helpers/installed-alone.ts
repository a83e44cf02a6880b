import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './root.ts'

/** Installs the package with its dependencies, and nothing else that is installed here, in an empty folder. Returns its command line. */
export function installedAlone(folder: string): string {
  const { dependencies } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { dependencies: object }
  mkdirSync(join(folder, 'node_modules'))
  cpSync(`${root}dist`, join(folder, 'dist'), { recursive: true })
  cpSync(`${root}package.json`, join(folder, 'package.json'))
  for (const name of Object.keys(dependencies))
    symlinkSync(`${root}node_modules/${name}`, join(folder, 'node_modules', name))
  return join(folder, 'dist/server/cli/main.js')
}

import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** A program that some tests drive, and that is not part of the package. */
export type Program = {
  readonly name: string
  readonly debianPackage: string
  /** What is skipped without it. */
  readonly tests: string
}

/**
 * Where a program is: where the environment says (`CHROMIUM` for `chromium`), else in a folder of `PATH`. Says on stderr
 * which tests are skipped when it is undefined, which CI does not allow.
 */
export function installed({ name, debianPackage, tests }: Program): string | undefined {
  const variable = name.toUpperCase().replaceAll('-', '_')
  // Programs for administrators are not in the path of everybody.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin']
  const found = [process.env[variable], ...folders.map((folder) => join(folder, name))].find(
    (path) => path !== undefined && existsSync(path),
  )
  if (found === undefined)
    console.error(
      `NO ${variable}: ${tests} do not run. Install it (apt-get install ${debianPackage}) or set ${variable} to where it is.`,
    )
  return found
}

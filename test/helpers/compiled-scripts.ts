/** The environment variable with the folder of this test run's compiled scripts, for its worker processes. */
export const COMPILED = 'MILLRACE_COMPILED_SCRIPTS'

/**
 * A script of `test/helpers/` or `examples/`, compiled with what it imports of the sources. Node runs it as it is: a
 * compiler in each process would take longer than most tests do.
 * @param path from the root, such as `examples/tools.ts`.
 */
export function compiledScript(path: string): string {
  const folder = process.env[COMPILED]
  if (folder === undefined)
    throw new Error("nothing compiled the scripts: globalSetup is 'test/helpers/script-compiler.ts'")
  return `${folder}/${path.replace(/\.ts$/, '.js')}`
}

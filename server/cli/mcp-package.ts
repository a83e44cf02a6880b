import { EXIT, Failure } from './exit.ts'

/**
 * Handles the error of loading a part of the server that needs the package `@modelcontextprotocol/server`.
 * @param command what needs it.
 * @returns a function that throws a `Failure` which says what to install, or the error if it is another one.
 */
export function withoutMcp(command: string): (error: unknown) => never {
  return (error) => {
    const { code } = error as { code?: string }
    if (code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new Failure(EXIT.usage, `${command} needs a package: npm install @modelcontextprotocol/server`, error)
  }
}

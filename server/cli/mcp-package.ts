import { EXIT, Failure } from './exit.ts'

/**
 * Loads a part of the server that needs the package `@modelcontextprotocol/server`.
 * @param command what needs it.
 * @throws Failure which says what to install.
 */
export async function loadMcp<Part>(load: () => Promise<Part>, command: string): Promise<Part> {
  try {
    return await load()
  } catch (error) {
    const { code } = error as { code?: string }
    if (code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new Failure(EXIT.usage, `${command} needs a package: npm install @modelcontextprotocol/server`, error)
  }
}

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { checkOptions } from '../../protocol/options.ts'
import type { Actor } from '../actors/actor.ts'
import { SERVER_OPTIONS, type ServerOptions } from '../server-options.ts'
import { EXIT, Failure, messageOf, placeOf } from './exit.ts'

/** The options of `createServer` that a config file may set, all of them optional. */
export type Config = Partial<Omit<ServerOptions<{ readonly [name: string]: Actor }>, 'runtime'>>

/** How long it may take to find the line of a syntax error, in milliseconds. */
const CHECK_MS = 10_000

const { runtime: _, ...KINDS } = SERVER_OPTIONS

/**
 * Loads and checks the default export of a file. It loads `.js` and `.mjs`, and also `.ts` if Node or an installed
 * `tsx` can.
 * @throws Failure whose one line names the file and the problem.
 */
export async function loadConfig(file: string): Promise<Config> {
  const path = resolve(file)
  if (!existsSync(path)) throw new Failure(EXIT.usage, `config file ${file} not found: check the path`)
  const load = await loaderOf(path)
  let loaded: { default?: unknown }
  try {
    loaded = (await load(pathToFileURL(path).href)) as { default?: unknown }
  } catch (error) {
    throw new Failure(EXIT.usage, `${file} cannot be loaded: ${messageOf(error)}${await placeIn(path, error)}`, error)
  }
  return checked(defaultOf(loaded), file)
}

/** Where an error was thrown. The stack of a syntax error does not have the place, and `node --check` knows it. */
async function placeIn(path: string, error: unknown): Promise<string> {
  if (!(error instanceof SyntaxError)) return placeOf(error)
  const said = await promisify(execFile)(process.execPath, ['--check', path], { timeout: CHECK_MS }).then(
    () => '',
    (failure: unknown) => (failure as { readonly stderr?: string }).stderr ?? '',
  )
  const line = /^(?:file:\/\/)?\/.*:(\d+)$/m.exec(said)?.[1]
  return line === undefined ? placeOf(error) : ` (${basename(path)}:${line})`
}

/** The function that can import the file. */
async function loaderOf(path: string): Promise<(url: string) => Promise<unknown>> {
  const isTypeScript = /\.[cm]?tsx?$/.test(path)
  if (!isTypeScript || (process.features as { typescript?: unknown }).typescript) return (url) => import(url)
  try {
    const { tsImport } = await import('tsx/esm/api')
    return (url) => tsImport(url, import.meta.url)
  } catch (error) {
    throw new Failure(
      EXIT.usage,
      `${basename(path)} is TypeScript, which Node ${process.versions.node} cannot load: npm install tsx, or write it as .mjs`,
      error,
    )
  }
}

/** The default export. In a CommonJS module, which a TypeScript loader may produce, it is one level deeper. */
function defaultOf({ default: value }: { default?: unknown }): unknown {
  return typeof value === 'object' && value !== null && 'default' in value ? value.default : value
}

function checked(config: unknown, file: string): Config {
  const wrong = (what: string): Failure => new Failure(EXIT.usage, `${file}: ${what}`)
  if (typeof config !== 'object' || config === null)
    throw wrong('it needs a default export: an object with any of the options of createServer, such as { actors }')
  try {
    checkOptions('the config', config, KINDS)
  } catch (error) {
    throw wrong(messageOf(error))
  }
  return config
}

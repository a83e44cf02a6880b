import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'
import type { TestProject } from 'vitest/node'
import { COMPILED } from './compiled-scripts.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Compiles the scripts for this process and those that it starts. Its disposal removes them. */
export async function compileScripts(): Promise<Disposable & { again(): Promise<void> }> {
  // Inside the package, where its own name leads to `dist/`, and the names of others to `node_modules/`.
  const folder = mkdtempSync(`${root}dist.test-`)
  await compile(folder)
  process.env[COMPILED] = folder
  return {
    again: () => compile(folder),
    [Symbol.dispose]() {
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Compiles them once for a whole test run, and again when somebody who watches it changes a file. */
export default async function setup(project: TestProject): Promise<(() => void) | undefined> {
  // Vitest calls this for each of its projects.
  if (process.env[COMPILED] !== undefined) return undefined
  const scripts = await compileScripts()
  project.onTestsRerun(() => scripts.again())
  return () => scripts[Symbol.dispose]()
}

async function compile(outdir: string): Promise<void> {
  await build({
    absWorkingDir: root,
    entryPoints: [...named('test/helpers', /-process(-main)?\.ts$/), ...named('examples', /(?<!\.test)\.ts$/)],
    outbase: root,
    outdir,
    bundle: true,
    splitting: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    keepNames: true,
    plugins: [ownAddresses],
    tsconfigRaw: '{}',
    logLevel: 'warning',
  })
}

function named(folder: string, pattern: RegExp): string[] {
  return readdirSync(`${root}${folder}`)
    .filter((name) => pattern.test(name))
    .map((name) => `${folder}/${name}`)
}

/** What a file reads beside itself it also finds from within a bundle. */
const ownAddresses: Plugin = {
  name: 'own addresses',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.ts$/ }, ({ path }) => ({
      loader: 'ts',
      contents: readFileSync(path, 'utf8').replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href)),
    })),
}

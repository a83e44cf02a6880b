// Compiles `bench/` to plain JavaScript and runs it, so that what is measured is `dist/` and not a compiler: a loader that
// works at run time would be in the figures.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
// Inside the package, where its own name leads to `dist/`.
const folder = mkdtempSync(`${root}dist.bench-`)
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
// It reaches the child as well, which ends what it started, and then this process goes on.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {})

const processes = readdirSync(`${root}bench/processes`)
  .filter((name) => name.endsWith('-process.ts'))
  .map((name) => `${root}bench/processes/${name}`)

await build({
  entryPoints: [`${root}bench/main.ts`, ...processes],
  entryNames: '[name]',
  outdir: folder,
  bundle: true,
  splitting: true,
  packages: 'external',
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: 'inline',
  logLevel: 'warning',
  tsconfigRaw: '{}',
})
const { status } = spawnSync(process.execPath, [`${folder}/main.js`, ...process.argv.slice(2)], { stdio: 'inherit' })
process.exitCode = status ?? 1

// Builds `dist/` beside the old one and swaps them only when the compiler is content, so a failed build never leaves
// half a package behind and a running test never sees an empty one. `--if-changed` builds only what is not built yet.
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, renameSync, rmSync, utimesSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { buildDashboard } from './dashboard-build.mjs'
import { isFresh } from './freshness.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const tsc = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url))
if (process.argv.includes('--if-changed') && isFresh(root)) process.exit(0)

const startedAt = new Date()
const fresh = `${root}dist.new-${process.pid}`
const old = `${root}dist.old-${process.pid}`

const compiled = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', fresh], {
  cwd: root,
  stdio: 'inherit',
})
if (compiled.status !== 0) {
  rmSync(fresh, { recursive: true, force: true })
  console.error('build failed: dist/ is unchanged')
  process.exit(1)
}

// The scripts that run inside Redis are read as they are.
for (const folder of ['server/stores/redis/scripts', 'server/conversations/redis-scripts'])
  cpSync(`${root}${folder}`, `${fresh}/${folder}`, { recursive: true })

await buildDashboard(fresh).catch((error) => {
  rmSync(fresh, { recursive: true, force: true })
  console.error(error)
  console.error('build failed: dist/ is unchanged')
  process.exit(1)
})

const command = `${fresh}/server/cli/main.js`
if (existsSync(command)) chmodSync(command, 0o755)

// What is written while the compiler reads is newer than what it made of it.
utimesSync(fresh, startedAt, startedAt)
if (existsSync(`${root}dist`)) renameSync(`${root}dist`, old)
renameSync(fresh, `${root}dist`)
rmSync(old, { recursive: true, force: true })

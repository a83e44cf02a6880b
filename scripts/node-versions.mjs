// Runs a test tier on other versions of Node, which npm fetches as the package `node`: `npm run node-versions`, or
// `npm run node-versions -- 22 -- test/protocol` for one version and some files. Build first; the build is the same for all.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const given = process.argv.slice(2)
const end = given.indexOf('--')
const named = given.slice(0, end < 0 ? given.length : end)
const versions = named.length > 0 ? named : ['22', '24']
const vitest = ['node_modules/vitest/vitest.mjs', 'run', ...(end < 0 ? [] : given.slice(end + 1))]

const failed = versions.filter((version) => {
  if (!/^\d+(\.\d+){0,2}$/.test(version)) throw new Error(`${version} is no version of Node`)
  const on = (...args) =>
    spawnSync('npm', ['exec', '--yes', `--package=node@${version}`, '--', 'node', ...args], {
      cwd: root,
      stdio: 'inherit',
    })
  console.log(`\n== Node ${version}`)
  return on('--version').status !== 0 || on(...vitest).status !== 0
})
console.log(failed.length === 0 ? `\npassed on Node ${versions.join(', ')}` : `\nfailed on Node ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1

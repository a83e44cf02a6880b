// Bundles the client and the server of a release into `test/compatibility/release-VERSION/`, where they are checked in:
// each release is tested against the one before. Run it in a checkout of that release, with its packages installed:
//
//   node scripts/bundle-release.mjs FOLDER_OF_THAT_CHECKOUT
//
// The same sources give the same bytes. Packages stay outside of the bundles, and are those of this checkout.
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const [release] = process.argv.slice(2)
if (release === undefined) {
  console.error('usage: node scripts/bundle-release.mjs FOLDER_OF_A_CHECKOUT')
  process.exit(2)
}
const source = resolve(release)
const { version } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'))
const target = fileURLToPath(new URL(`../test/compatibility/release-${version}/`, import.meta.url))

await build({
  absWorkingDir: source,
  entryPoints: [
    { in: 'client-sdk/node.ts', out: 'client' },
    { in: 'server/index.ts', out: 'server' },
  ],
  outdir: target,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  minifyWhitespace: true,
  packages: 'external',
  format: 'esm',
  platform: 'node',
  target: 'node20',
  legalComments: 'none',
  banner: { js: `// millrace ${version}, bundled by scripts/bundle-release.mjs` },
  logLevel: 'warning',
  tsconfigRaw: '{}',
})
console.log(`bundled millrace ${version} into ${target}`)

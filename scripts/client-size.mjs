// What a browser downloads for `import { createClient } from 'millrace/client'`: bundled, minified and gzipped from the
// built package. Fails above the budget, and when anything of the server's side came along.
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const budgetBytes = 9472
const forbidden = [/node_modules\//, /^node:/, /dist\/server\//]

const bundle = await build({
  stdin: { contents: `export { createClient } from 'millrace/client'`, resolveDir: process.cwd() },
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2023',
  write: false,
  metafile: true,
  logLevel: 'silent',
}).catch((error) => fail(`the client does not bundle for a browser (is dist/ built?): ${error.message}`))

const stowaways = Object.entries(bundle.metafile.inputs)
  .flatMap(([path, { imports }]) => [path, ...imports.filter((line) => line.external).map((line) => line.path)])
  .filter((path) => forbidden.some((pattern) => pattern.test(path)))
if (stowaways.length > 0) fail(`the browser bundle of the client contains ${stowaways.join(', ')}`)

const { contents } = bundle.outputFiles[0]
if (contents.length === 0) fail('the browser bundle of the client is empty')

const gzipped = gzipSync(contents, { level: 9 }).length
const figures = `client: ${contents.length} B minified, ${gzipped} B gzipped, of ${budgetBytes} B allowed`
if (gzipped > budgetBytes) fail(`${figures}: ${gzipped - budgetBytes} B too much`)
console.log(figures)

function fail(message) {
  console.error(message)
  process.exit(1)
}

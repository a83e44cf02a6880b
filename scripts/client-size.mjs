// What a browser downloads for `import { createClient } from 'millrace/client'`: bundled, minified and gzipped from the
// built package. Fails above the budget, and when anything of the server's side came along, or a further export that was not
// asked for. What each further export adds to that is said as well, and what the hooks for React add.
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const budgetBytes = 12_224
const forbidden = [/node_modules\//, /^node:/, /dist\/server\//]

const extras = ['only', 'collect', 'smooth', 'partialObject', 'upload', 'clientTools']
/** What further entries add to the client, without the packages that they are for. */
const entries = {
  conversation: { names: ['conversation'], budgetBytes: 3_072 },
  compat: { names: ['streamingService', 'streamAsk', 'chunkProcessor', 'toChunks'], budgetBytes: 3_584 },
  'adapters/ai-sdk': { names: ['millraceChat'], budgetBytes: 5_264 },
  'adapters/ag-ui': { names: ['millraceAgent'], budgetBytes: 5_184 },
  shared: { names: ['sharedWebSocket'], budgetBytes: 512 },
  react: { names: ['useRun', 'useRuns', 'useConnection'], budgetBytes: 3_752 },
}

const client = await bundled('createClient')
const stowaways = Object.entries(client.metafile.inputs)
  .flatMap(([path, { imports }]) => [path, ...imports.filter((line) => line.external).map((line) => line.path)])
  .filter((path) => forbidden.some((pattern) => pattern.test(path)))
for (const [path, { bytesInOutput }] of Object.entries(Object.values(client.metafile.outputs)[0].inputs))
  if (bytesInOutput > 0 && extras.some((name) => path.endsWith(`/${fileOf(name)}.js`))) stowaways.push(path)
if (stowaways.length > 0) fail(`the browser bundle of the client contains ${stowaways.join(', ')}`)

const alone = sizeOf(client)
if (alone.minified === 0) fail('the browser bundle of the client is empty')

const figures = `client: ${alone.minified} B minified, ${alone.gzipped} B gzipped, of ${budgetBytes} B allowed`
if (alone.gzipped > budgetBytes) fail(`${figures}: ${alone.gzipped - budgetBytes} B too much`)
console.log(figures)

for (const name of extras) {
  const { minified, gzipped } = sizeOf(await bundled('createClient', name))
  console.log(`${name}: ${minified - alone.minified} B minified, ${gzipped - alone.gzipped} B gzipped, beside it`)
}

for (const [entry, { names, budgetBytes }] of Object.entries(entries)) {
  const both = `export { createClient } from 'millrace/client'; export { ${names.join(', ')} } from 'millrace/${entry}'`
  const { minified, gzipped } = sizeOf(await bundle(both))
  const beside = gzipped - alone.gzipped
  const figures = `millrace/${entry}: ${minified - alone.minified} B minified, ${beside} B gzipped, of ${budgetBytes} B allowed, beside it`
  if (beside > budgetBytes) fail(`${figures}: ${beside - budgetBytes} B too much`)
  console.log(figures)
}

/** What the shared worker of a browser loads, once for all pages. */
const workerBudgetBytes = 8_192
const worker = sizeOf(await bundle(`import 'millrace/shared-worker'`))
const workerFigures = `millrace/shared-worker: ${worker.minified} B minified, ${worker.gzipped} B gzipped, of ${workerBudgetBytes} B allowed, alone`
if (worker.gzipped > workerBudgetBytes || worker.gzipped < 2_048)
  fail(`${workerFigures}: too much, or the worker was left out`)
console.log(workerFigures)

/** The client with these exports, for a browser. */
function bundled(...names) {
  return bundle(`export { ${names.join(', ')} } from 'millrace/client'`)
}

function bundle(contents) {
  return build({
    stdin: { contents, resolveDir: process.cwd() },
    external: ['react', 'rxjs', 'rxjs/operators'],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2023',
    write: false,
    metafile: true,
    logLevel: 'silent',
  }).catch((error) => fail(`the client does not bundle for a browser (is dist/ built?): ${error.message}`))
}

/** The file of an export: `client-tools` for `clientTools`. */
function fileOf(name) {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

function sizeOf({ outputFiles: [{ contents }] }) {
  return { minified: contents.length, gzipped: gzipSync(contents, { level: 9 }).length }
}

function fail(message) {
  console.error(message)
  process.exit(1)
}

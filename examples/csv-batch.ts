// Reads a large CSV file line by line, and stores it in chunks. It fails in the middle, and goes on from there.
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { collect, createClient } from 'millrace/client'
import { bearer, createServer, MillraceError, workflow } from 'millrace/server'

const folder = await mkdtemp(join(tmpdir(), 'millrace-csv-'))
const file = join(folder, 'orders.csv')
await writeFile(file, `id,amount\n${Array.from({ length: 10_000 }, (_, n) => `${n},${n % 7}\n`).join('')}`)

/** The rows of a file, one at a time. */
async function* rowsOf(path: string): AsyncGenerator<{ id: number; amount: number }> {
  await using handle = await open(path)
  let isHeader = true
  for await (const line of handle.readLines()) {
    const [id, amount] = line.split(',').map(Number)
    if (!isHeader && id !== undefined && amount !== undefined) yield { id, amount }
    isHeader = false
  }
}

const stored = new Map<string, number>()
let isDown = true

const actors = {
  importer: workflow({
    steps: (flow) =>
      flow.batch('import', {
        over: () => rowsOf(file),
        each(rows, { step }) {
          if (isDown && stored.size === 6) throw new MillraceError('unavailable', 'the database is down')
          // The key of a chunk: a chunk that is done twice is stored once.
          stored.set(step.id, rows.length)
        },
        chunk: 1_000,
        total: () => 10_000,
      }),
  }),
}
const server = createServer({ actors, authenticate: bearer({ 'a-long-secret': 'alice' }) })
const { url } = await server.listen(0)
const client = createClient<typeof actors>(url, { token: 'a-long-secret' })
const shown = {
  onProgress: ({ current, total }: { current: number; total?: number }) => console.log(`${current} of ${total}`),
}

const failed = client.start('importer', null)
await collect(failed, shown).catch((error: unknown) => console.log((error as MillraceError).message))
isDown = false
const { result } = await collect(client.start('importer', null, { meta: { retryOf: failed.id } }), shown)
console.log(result, `stored ${stored.size} chunks`)

await client.close()
await server.close()
await rm(folder, { recursive: true })

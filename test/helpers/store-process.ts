import { nodeRuntime } from '../../server/runtime.ts'
import { Database } from '../../server/stores/sqlite/database.ts'
import { SqliteStore } from '../../server/stores/sqlite/sqlite-store.ts'
import { asChild } from './child-process.ts'
import { END, ITEMS, itemsOf } from './store-items.ts'

/** A process that has a SQLite file, and appends to several runs for as long as it lives. */
export type StoreProcessOptions = { path: string; runs: readonly string[] }

/** It has the file; it was told that items of a run are stored. */
export type StoreReport = { type: 'open' } | { type: 'stored'; run: string; last: number }

async function write(store: SqliteStore, run: string, told: (last: number) => void): Promise<void> {
  const facts = { actor: 'count', principal: 'alice', startedAt: Date.now(), packed: new Uint8Array(100) }
  const lease = await store.begin(run, { facts, key: { name: `key of ${run}`, input: 'a' } })
  if ('run' in lease) throw new Error(`${run} was begun by somebody else`)
  for (let next = 1; next <= ITEMS; ) {
    const last = Math.min(ITEMS, next + (next % 3))
    const isEnd = last === ITEMS
    const refusal = await lease.append({ batch: itemsOf(run, lease.gen, next, last), ...(isEnd && { end: END }) })
    if (refusal) throw new Error(`${run}: ${refusal}`)
    told(last)
    next = last + 1
  }
}

const { options, report } = asChild(() => undefined)
const { path, runs } = options as StoreProcessOptions
const store = new SqliteStore(new Database(path, nodeRuntime), nodeRuntime, {
  keepMs: 2 ** 50,
  maxBytes: 2 ** 50,
  maxRunBytes: 2 ** 50,
})
await store.open()
report({ type: 'open' })
await Promise.all(runs.map((run) => write(store, run, (last) => report({ type: 'stored', run, last } as StoreReport))))

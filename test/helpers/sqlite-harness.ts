import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nodeRuntime } from '../../server/runtime.ts'
import { Database } from '../../server/stores/sqlite/database.ts'
import type { RetentionOptions } from '../../server/stores/sqlite/retention.ts'
import { SqliteStore, type StoreRuntime } from '../../server/stores/sqlite/sqlite-store.ts'
import type { StoreHarness } from '../server/stores/run-store-suite.ts'

const KEEP_ALL: RetentionOptions = { keepMs: 2 ** 50, maxBytes: 2 ** 50, maxRunBytes: 2 ** 50 }

/** A folder that goes with its test. */
export async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'millrace-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

export type OpenSqlite = AsyncDisposable & { store: SqliteStore; database: Database; path: string }

/** A SQLite store in `path`, open. */
export async function openSqlite(
  path: string,
  retention: Partial<RetentionOptions> = {},
  runtime: StoreRuntime = nodeRuntime,
): Promise<OpenSqlite> {
  const database = new Database(path, nodeRuntime)
  const store = new SqliteStore(database, runtime, { ...KEEP_ALL, ...retention })
  await store.open()
  return { store, database, path, [Symbol.asyncDispose]: () => store.close() }
}

/** A SQLite file of its own, for the suite of all stores. */
export async function sqliteHarness(): Promise<StoreHarness & { readonly path: string }> {
  const folder = await temporaryFolder()
  const path = join(folder.path, 'data', 'millrace.db')
  let open = await openSqlite(path)
  return {
    store: open.store,
    path,
    async restart() {
      await open.store.close()
      open = await openSqlite(path)
      return open.store
    },
    async kill() {
      await open.database.crash(true)
      open = await openSqlite(path)
      return open.store
    },
    async full(is) {
      const [count] = await open.database.read('PRAGMA page_count')
      const most = is ? Number(count!['page_count']) : 2 ** 31
      await open.database.read(`PRAGMA max_page_count = ${most}`)
    },
    async [Symbol.asyncDispose]() {
      await open.store.close()
      await folder[Symbol.asyncDispose]()
    },
  }
}

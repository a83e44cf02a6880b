import { resolve } from 'node:path'
import { MillraceError } from '../../../protocol/errors.ts'
import { nodeRuntime } from '../../runtime.ts'
import type { RunStore } from '../run-store.ts'
import { Database } from './database.ts'
import { shareDatabase } from './shared-database.ts'
import { SqliteStore } from './sqlite-store.ts'

export type {
  Append,
  AppendRefusal,
  Batch,
  Lease,
  ListPosition,
  NewRun,
  Page,
  RunFacts,
  RunStore,
  StoreCaps,
  StoredEnd,
  StoredInput,
  StoredKey,
  StoredLife,
  StoredRun,
  StoredRunSummary,
} from '../run-store.ts'

const DAY_MS = 86_400_000
const MIB = 1_048_576

/** The options of `sqlite()`. */
export type SqliteOptions = {
  /**
   * The path of the file. It is created if it is missing, with its folder, for the user of this process only. WAL and
   * journal files stand next to it. The file must be on a disk of this machine, not on a network share.
   */
  path: string
  /** How long a run is kept after its end, in milliseconds. Default 604,800,000: 7 days. */
  keepMs?: number | undefined
  /**
   * The most bytes of the file. Beyond them, the runs that ended first are removed. Runs that go on or wait are never
   * removed, so that the file can grow beyond this. Default 4,294,967,296: 4 GiB.
   */
  maxBytes?: number | undefined
  /** The most bytes of the log of one run. Beyond them, its oldest items are dropped. Default 67,108,864: 64 MiB. */
  maxRunBytes?: number | undefined
}

/**
 * Returns a store of runs in one SQLite file. It needs the package `libsql`. One process uses the file at a time; a
 * second one fails when it opens it. Nothing is opened before `open`, which a server calls.
 * @throws MillraceError `bad_request` for a wrong option.
 */
export function sqlite(options: SqliteOptions): RunStore {
  const { path, keepMs = 7 * DAY_MS, maxBytes = 4_096 * MIB, maxRunBytes = 64 * MIB } = options
  if (typeof path !== 'string' || path === '')
    throw new MillraceError('bad_request', 'sqlite() needs the option path: the path of its file')
  for (const [name, value] of Object.entries({ keepMs, maxBytes, maxRunBytes }))
    if (!Number.isSafeInteger(value) || value < 1)
      throw new MillraceError('bad_request', `sqlite(): ${name} must be a whole number of at least 1, not ${value}`)
  const database = new Database(resolve(path), nodeRuntime)
  const store = new SqliteStore(database, nodeRuntime, { keepMs, maxBytes, maxRunBytes })
  shareDatabase(store, database)
  return store
}

import { existsSync, statSync } from 'node:fs'
import { MillraceError } from '../../../protocol/errors.ts'
import { nodeRuntime } from '../../runtime.ts'
import type { Batch, StoredRun } from '../run-store.ts'
import { Database } from './database.ts'
import { shareDatabase } from './shared-database.ts'
import { SqliteStore } from './sqlite-store.ts'

/** The most problems that a check lists. */
const MOST_PROBLEMS = 20
/** Runs that are looked up at once. */
const RUNS_PER_PAGE = 100
/** Bytes of a log that are read at once. */
const PAGE_BYTES = 1_048_576
/** Nothing expires while somebody looks at a file. */
const KEEP_ALL = {
  keepMs: Number.MAX_SAFE_INTEGER,
  maxBytes: Number.MAX_SAFE_INTEGER,
  maxRunBytes: Number.MAX_SAFE_INTEGER,
}

/** What a file has. */
export type DataCounts = { readonly runs: number; readonly live: number; readonly parked: number }

/** A file of stored runs that no server uses: what an operator does with it. */
export class DataFile implements AsyncDisposable {
  readonly #path: string
  readonly #database: Database
  readonly #store: SqliteStore

  /** Other parts of the package may define tables of theirs, as in the file of a store, before `open`. */
  constructor(path: string) {
    this.#path = path
    this.#database = new Database(path, nodeRuntime)
    this.#store = new SqliteStore(this.#database, nodeRuntime, KEEP_ALL)
    shareDatabase(this, this.#database)
  }

  /**
   * Opens the file, which must exist. A file of an older release is migrated.
   * @throws MillraceError `not_found` when there is none; `store_unavailable` when it cannot be used, or a server has it.
   */
  async open(): Promise<void> {
    if (!existsSync(this.#path))
      throw new MillraceError('not_found', `${this.#path} does not exist: nothing is stored there`)
    await this.#store.open()
  }

  /** Looks for damage. Gives what it found, in words; nothing: the file is sound. */
  async check(): Promise<string[]> {
    const [pages, gaps, ends] = await Promise.all([
      this.#database.maintain<{ integrity_check: string }>(`PRAGMA integrity_check(${MOST_PROBLEMS})`),
      this.#database.maintain<{ id: string; first: number }>(FIND_GAPS),
      this.#database.maintain<{ id: string; next: number }>(FIND_WRONG_ENDS),
    ])
    return [
      ...pages.map((row) => row.integrity_check).filter((words) => words !== 'ok'),
      ...gaps.map(({ id, first }) => `run ${id}: items are missing before item ${first}`),
      ...ends.map(({ id, next }) => `run ${id}: its log does not end before item ${next}`),
    ]
  }

  /** Counts what the file has. */
  async counts(): Promise<DataCounts> {
    const [counts] = await this.#database.read<DataCounts>(COUNT)
    return counts!
  }

  /** Gives all free room back to the disk. Gives the bytes of the file before and after. */
  async compact(): Promise<{ before: number; after: number }> {
    const before = statSync(this.#path).size
    for (const sql of [SWEEP_BATCHES, SWEEP_RUNS, 'VACUUM', 'PRAGMA wal_checkpoint(TRUNCATE)'])
      await this.#database.maintain(sql)
    return { before, after: statSync(this.#path).size }
  }

  /** Removes all runs of a principal. Gives how many there were. What they were is in the file until `compact`. */
  removeRuns(principal: string): Promise<number> {
    return this.#store.removeAll(principal)
  }

  /** The run of this id. */
  find(id: string): Promise<StoredRun | undefined> {
    return this.#store.find(id)
  }

  /** The runs of a principal, or all of them, in the order in which they began. */
  async *runs(principal: string | undefined): AsyncGenerator<StoredRun, void> {
    for (let last = 0; ; ) {
      const rows = await this.#database.read<{ n: number; id: string }>(
        principal === undefined ? LIST_ALL : LIST_OF_PRINCIPAL,
        principal === undefined ? [last, RUNS_PER_PAGE] : [last, RUNS_PER_PAGE, principal],
      )
      if (rows.length === 0) return
      for (const { n, id } of rows) {
        const run = await this.#store.find(id)
        if (run) yield run
        last = n
      }
    }
  }

  /** The stored items of a run. */
  async *batches({ id, first, next }: StoredRun): AsyncGenerator<Batch, void> {
    for (let from = first; from < next; ) {
      const { batches } = await this.#store.read(id, from, PAGE_BYTES)
      if (batches.length === 0) return
      yield* batches
      from = batches.at(-1)!.last + 1
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store.close()
  }
}

const COUNT = `SELECT (SELECT count(*) FROM runs) AS runs,
  (SELECT count(*) FROM states WHERE ended_at IS NULL) AS live, (SELECT count(*) FROM parked) AS parked`
const FIND_GAPS = `SELECT id, first FROM (
    SELECT run, first, lag(last) OVER (PARTITION BY run ORDER BY first) AS before FROM batches)
  JOIN runs ON n = run WHERE first <> before + 1 LIMIT ${MOST_PROBLEMS}`
const FIND_WRONG_ENDS = `SELECT id, next FROM states JOIN runs ON n = run
  WHERE next <> 1 + coalesce((SELECT max(last) FROM batches WHERE batches.run = states.run), 0) LIMIT ${MOST_PROBLEMS}`
const SWEEP_BATCHES = 'DELETE FROM batches WHERE run IN (SELECT run FROM garbage)'
const SWEEP_RUNS = 'DELETE FROM garbage WHERE run NOT IN (SELECT run FROM batches)'
const LIST_ALL = 'SELECT n, id FROM runs WHERE n > ?1 ORDER BY n LIMIT ?2'
const LIST_OF_PRINCIPAL = 'SELECT n, id FROM runs WHERE n > ?1 AND principal = ?3 ORDER BY n LIMIT ?2'

import { MillraceError } from '../../../protocol/errors.ts'
import type { Runtime } from '../../../protocol/runtime.ts'
import { verdictOf } from '../append-verdict.ts'
import type {
  Append,
  AppendRefusal,
  Lease,
  ListPosition,
  NewRun,
  Page,
  RunStore,
  StoreCaps,
  StoredEnd,
  StoredInput,
  StoredKey,
  StoredLife,
  StoredRun,
  StoredRunSummary,
} from '../run-store.ts'
import type { Database } from './database.ts'
import type { Statement } from './messages.ts'
import { Retention, type RetentionOptions } from './retention.ts'
import { ADD_ROW, type BatchesRow, BYTES_OF_ROW, batchesOf, bytesOfBatch, rowOf } from './rows.ts'
import { runsPart } from './schema.ts'
import { SqliteOutbox } from './sqlite-outbox.ts'
import { APPEND_ITEMS } from './tails.ts'

const CAPS: StoreCaps = { durable: true, shared: false, maxBatchBytes: 65_536, flushMs: 10 }
/** Lives that are kept of one run: a process that dies again and again begins one each time. */
const MOST_LIVES = 100
/** Rows from which one page is chosen. */
const ROWS_PER_PAGE = 1_000
/** What a run takes in the file besides its bytes, about. */
const RUN_BYTES = 512
/** The place before all others in a list. */
const NEWEST: ListPosition = { startedAt: Number.MAX_SAFE_INTEGER, id: '' }

/** What a store takes from its process. */
export type StoreRuntime = Pick<Runtime, 'now' | 'wallClock' | 'setTimer' | 'nextTurn'>

type StateRow = { gen: number; next: number; endSeq: number | null }

/** Runs in a SQLite file. */
export class SqliteStore implements RunStore {
  readonly caps: StoreCaps = CAPS
  readonly outbox: SqliteOutbox
  readonly #database: Database
  readonly #runtime: StoreRuntime
  readonly #retention: Retention
  /** The opening of the file that is the holder of the runs of this process. */
  #opening = 0

  constructor(database: Database, runtime: StoreRuntime, retention: RetentionOptions) {
    this.#database = database
    this.#runtime = runtime
    this.#retention = new Retention(database, runtime, retention)
    this.outbox = new SqliteOutbox(database, runtime)
    database.define(runsPart)
  }

  async open(): Promise<void> {
    this.#opening = await this.#database.open()
    await this.outbox.reopen()
    this.#retention.start()
  }

  async close(): Promise<void> {
    await this.#retention.stop()
    await this.#database.close()
  }

  async begin(id: string, { facts, key }: NewRun): Promise<Lease | StoredKey> {
    const { actor, principal, startedAt, meta, packed } = facts
    const bytes = RUN_BYTES + packed.length + (meta?.length ?? 0)
    const run: Statement[] = [
      { sql: BEGIN_RUN, params: [id, principal, actor, startedAt, meta ?? null, packed] },
      { sql: BEGIN_STATE, params: [id, bytes, this.#opening] },
      { sql: BEGIN_LIFE, params: [id] },
    ]
    const [isNew, [taken], [row]] = await Promise.all([
      key
        ? this.#database.writeIf({ sql: TAKE_KEY, params: [key.name, id, key.input] }, run)
        : this.#database.write(run).then(() => true),
      key ? this.#database.read<StoredKey>(FIND_KEY, [key.name]) : [],
      this.#database.read<{ n: number }>(FIND_NUMBER, [id]),
    ])
    if (!isNew && taken && taken.run !== id) return taken
    return this.#lease(row!.n, 1, bytes)
  }

  async takeOver(id: string): Promise<{ lease: Lease; run: StoredRun } | 'busy' | 'ended' | 'missing'> {
    const now = Math.floor(this.#runtime.wallClock())
    const [isTaken, run, [row]] = await Promise.all([
      this.#database.writeIf(
        { sql: TAKE_OVER, params: [id, now, this.#opening] },
        [
          { sql: ADD_LIFE, params: [id] },
          { sql: FORGET_LIVES, params: [id, MOST_LIVES] },
        ],
        { id },
      ),
      this.find(id),
      this.#database.read<{ n: number; bytes: number }>(FIND_BYTES, [id]),
    ])
    if (!run || !row) return 'missing'
    if (isTaken) return { lease: this.#lease(row.n, run.gen, row.bytes), run }
    return run.end ? 'ended' : 'busy'
  }

  async abandoned(most: number): Promise<string[]> {
    const rows = await this.#database.read<{ id: string }>(FIND_ABANDONED, [this.#opening, most])
    return rows.map(({ id }) => id)
  }

  async find(id: string): Promise<StoredRun | undefined> {
    const [[run], lives, inputs] = await Promise.all([
      this.#database.read<RunRow>(FIND_RUN, [id], { id }),
      this.#database.read<StoredLife>(FIND_LIVES, [id]),
      this.#database.read<StoredInput>(FIND_INPUTS, [id]),
    ])
    return run && storedRun(run, lives, inputs)
  }

  async findKey(name: string): Promise<StoredKey | undefined> {
    const [key] = await this.#database.read<StoredKey>(FIND_KEY, [name])
    return key
  }

  async list(principal: string, before: ListPosition | undefined, most: number): Promise<StoredRunSummary[]> {
    const { startedAt, id } = before ?? NEWEST
    const rows = await this.#database.read<SummaryRow>(LIST_RUNS, [principal, startedAt, id, most], 'all')
    return rows.map(summary)
  }

  async read(id: string, from: number, maxBytes: number): Promise<Page> {
    const [rows, [state]] = await Promise.all([
      this.#database.read<BatchesRow>(READ_BATCHES, [id, from, maxBytes, ROWS_PER_PAGE], { id }),
      this.#database.read<{ next: number }>(FIND_NEXT, [id]),
    ])
    const batches = batchesOf(rows, from, maxBytes)
    const last = batches.at(-1)?.last
    return { batches, more: last !== undefined && last + 1 < (state?.next ?? 0) }
  }

  async remove(id: string): Promise<void> {
    // Its tail may be in one row with those of others.
    await this.#database.write([{ sql: REMOVE_RUN, params: [id] }], 'all')
    this.#retention.soon()
  }

  async removeAll(principal: string): Promise<number> {
    const [removed] = await this.#database.write([{ sql: REMOVE_ALL, params: [principal] }], 'all')
    this.#retention.soon()
    return removed!
  }

  #lease(run: number, gen: number, bytes: number): Lease {
    const log = this.#retention.ofRun(run, bytes)
    return {
      gen,
      append: async (what) => {
        const refusal = (await this.#appends(run, gen, what)) ? undefined : await this.#refusal(run, gen, what)
        if (refusal === undefined) log.grew(bytesOf(what))
        return refusal
      },
      release: async () => {
        await this.#database.write([{ sql: RELEASE, params: [run, gen] }], { run })
      },
    }
  }

  /** Why an append changed nothing. Undefined: the store has it already. */
  async #refusal(run: number, gen: number, what: Append): Promise<AppendRefusal | undefined> {
    const [state] = await this.#database.read<StateRow>(FIND_STATE, [run], { run })
    const verdict = verdictOf(state && { ...state, endSeq: state.endSeq ?? undefined }, gen, what)
    if (verdict === 'repeated') return undefined
    if (verdict !== 'new') return verdict
    throw new MillraceError('store_unavailable', 'an append was refused for a reason that has passed; send it again')
  }

  #appends(run: number, gen: number, what: Append): Promise<boolean> {
    const { batch, parked, inputs = [], usage = null, end, notices = [] } = what
    const isTail = parked === undefined && inputs.length === 0 && !end && notices.length === 0
    if (batch?.gen === gen && isTail) {
      const { first, last, at, index, bodies, open = null } = batch
      return this.#database.append([run, gen, first, last, at, index, bodies, open, usage])
    }
    return this.#database.writeIf(
      batch
        ? { sql: APPEND_ITEMS, params: [run, gen, batch.first, batch.last + 1, bytesOf(what), usage] }
        : { sql: APPEND_NO_ITEMS, params: [run, gen, bytesOf(what), usage, end?.seq ?? null] },
      this.#changes(run, what),
      { run },
    )
  }

  #changes(run: number, { batch, parked, inputs = [], end, notices = [] }: Append): Statement[] {
    const all = this.outbox.adding(notices)
    if (batch) {
      const { first, last, gen, at, index, bodies, open = null } = batch
      all.push({ sql: ADD_ROW, params: rowOf(run, gen, [[first, last, at, index, bodies, open]], bytesOfBatch(batch)) })
    }
    if (parked !== undefined) {
      all.push({ sql: FORGET_INPUTS, params: [run] })
      all.push(parked ? { sql: PARK, params: [run, parked] } : { sql: GO_ON, params: [run] })
    }
    for (const { mid, type, packed } of inputs) all.push({ sql: ADD_INPUT, params: [run, mid, type, packed] })
    if (end) {
      all.push({ sql: FORGET_INPUTS, params: [run] }, { sql: GO_ON, params: [run] })
      all.push({ sql: ADD_END, params: [run, end.seq, end.outcome, end.packed] })
      all.push({ sql: MARK_ENDED, params: [run, Math.floor(this.#runtime.wallClock())] })
    }
    return all
  }
}

// --- beginning, holding and removing

const NUMBER_OF = '(SELECT n FROM runs WHERE id = ?1)'
const TAKE_KEY = 'INSERT INTO keys (name, run, input) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING'
const BEGIN_RUN = `INSERT INTO runs (id, principal, actor, started_at, meta, packed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
  ON CONFLICT DO NOTHING`
const BEGIN_STATE = `INSERT INTO states (run, gen, next, bytes, holder) SELECT n, 1, 1, ?2, ?3 FROM runs WHERE id = ?1
  ON CONFLICT DO NOTHING`
const BEGIN_LIFE = `INSERT INTO lives SELECT n, 1, 1 FROM runs WHERE id = ?1 ON CONFLICT DO NOTHING`
/** The clock counts too: a file that was restored from a copy must not give a number again that a client knows. */
const TAKE_OVER = `UPDATE states SET gen = max(gen + 1, ?2), holder = ?3
  WHERE run = ${NUMBER_OF} AND ended_at IS NULL AND holder IS NOT ?3`
const ADD_LIFE = `INSERT INTO lives SELECT run, gen, next FROM states WHERE run = ${NUMBER_OF}`
const FORGET_LIVES = `DELETE FROM lives WHERE run = ${NUMBER_OF} AND gen <=
  (SELECT gen FROM lives WHERE run = ${NUMBER_OF} ORDER BY gen DESC LIMIT 1 OFFSET ?2)`
const RELEASE = 'UPDATE states SET holder = NULL WHERE run = ?1 AND gen = ?2'
const REMOVE_RUN = 'DELETE FROM runs WHERE id = ?1'
const REMOVE_ALL = 'DELETE FROM runs WHERE principal = ?1'

// --- appending

const APPEND_NO_ITEMS = `UPDATE states SET bytes = bytes + ?3, usage = coalesce(?4, usage)
  WHERE run = ?1 AND gen = ?2 AND ended_at IS NULL AND (?5 IS NULL OR next = ?5)`
const FORGET_INPUTS = 'DELETE FROM inputs WHERE run = ?1'
const ADD_INPUT = 'INSERT INTO inputs (run, mid, type, packed) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING'
const PARK = 'INSERT OR REPLACE INTO parked VALUES (?1, ?2)'
const GO_ON = 'DELETE FROM parked WHERE run = ?1'
const ADD_END = 'INSERT INTO ends VALUES (?1, ?2, ?3, ?4)'
const MARK_ENDED = 'UPDATE states SET ended_at = ?2, holder = NULL WHERE run = ?1'

// --- reading

const FIND_KEY = 'SELECT run, input FROM keys WHERE name = ?1'
const FIND_NUMBER = 'SELECT n FROM runs WHERE id = ?1'
const FIND_BYTES = 'SELECT run AS n, bytes FROM states WHERE run = (SELECT n FROM runs WHERE id = ?1)'
const FIND_NEXT = `SELECT next FROM states WHERE run = ${NUMBER_OF}`
const FIND_STATE = `SELECT gen, next, (SELECT seq FROM ends WHERE run = ?1) AS endSeq FROM states WHERE run = ?1`
const FIND_ABANDONED = `SELECT id FROM states JOIN runs ON n = run WHERE ended_at IS NULL AND holder IS NOT ?1 LIMIT ?2`
const FIND_RUN = `SELECT id, principal, actor, started_at AS startedAt, meta, runs.packed AS packed, gen, next, usage,
    coalesce((SELECT min(first) FROM batches WHERE batches.run = runs.n), next) AS first,
    seq, outcome, ends.packed AS end, parked.packed AS parked
  FROM runs JOIN states ON states.run = n LEFT JOIN ends ON ends.run = n LEFT JOIN parked ON parked.run = n
  WHERE id = ?1`
const FIND_LIVES = `SELECT gen, first FROM lives WHERE run = ${NUMBER_OF} ORDER BY gen`
const FIND_INPUTS = `SELECT mid, type, packed FROM inputs WHERE run = ${NUMBER_OF} ORDER BY n`
const LIST_RUNS = `SELECT id, principal, actor, started_at AS startedAt, meta, gen, next, outcome,
    parked.run IS NOT NULL AS isParked
  FROM runs JOIN states ON states.run = n LEFT JOIN ends ON ends.run = n LEFT JOIN parked ON parked.run = n
  WHERE principal = ?1 AND (started_at, id) < (?2, ?3) ORDER BY started_at DESC, id DESC LIMIT ?4`
/** The batches from the one that has item ?2, as long as their bytes are within ?3; the first of them in any case. */
const READ_BATCHES = `WITH sizes AS (
    SELECT n, ${BYTES_OF_ROW} AS size, sum(${BYTES_OF_ROW}) OVER (ORDER BY first) AS total
    FROM batches
    WHERE run = ${NUMBER_OF} AND first >= coalesce(
      (SELECT max(first) FROM batches WHERE run = ${NUMBER_OF} AND first <= ?2), ?2)
    ORDER BY first LIMIT ?4
  )
  SELECT gen, first, last, at, count, positions, bodies, open FROM sizes JOIN batches USING (n)
  WHERE last >= ?2 AND (total <= ?3 OR total = size) ORDER BY first`

type RunRow = Omit<StoredRunSummary, 'isParked' | 'waitsForWorker' | 'meta' | 'outcome'> & {
  readonly meta: Uint8Array | null
  readonly packed: Uint8Array
  readonly first: number
  readonly usage: Uint8Array | null
  readonly seq: number | null
  readonly outcome: StoredEnd['outcome'] | null
  readonly end: Uint8Array | null
  readonly parked: Uint8Array | null
}
type SummaryRow = Omit<StoredRunSummary, 'isParked' | 'waitsForWorker' | 'meta' | 'outcome'> & {
  readonly meta: Uint8Array | null
  readonly outcome: StoredEnd['outcome'] | null
  readonly isParked: number
}

function storedRun(row: RunRow, lives: readonly StoredLife[], inputs: readonly StoredInput[]): StoredRun {
  const { id, actor, principal, startedAt, packed, gen, next, first, seq, outcome } = row
  return {
    id,
    facts: { actor, principal, startedAt, packed, ...(row.meta && { meta: row.meta }) },
    gen,
    lives,
    first,
    next,
    ...(seq !== null && outcome !== null && row.end && { end: { seq, outcome, packed: row.end } }),
    ...(row.parked && { parked: row.parked }),
    inputs,
    ...(row.usage && { usage: row.usage }),
  }
}

function summary({ meta, outcome, isParked, ...row }: SummaryRow): StoredRunSummary {
  return { ...row, ...(meta && { meta }), ...(outcome && { outcome }), isParked: isParked === 1 }
}

/** What an append takes in the file, about. */
function bytesOf({ batch, parked, inputs = [], end }: Append): number {
  let bytes = (parked?.length ?? 0) + (end?.packed.length ?? 0)
  if (batch) bytes += bytesOfBatch(batch)
  for (const { packed } of inputs) bytes += packed.length
  return bytes
}

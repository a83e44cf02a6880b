import type { Runtime } from '../../../protocol/runtime.ts'
import { type DueNotice, LONGEST_PUT_OFF_MS, type Outbox, type StoredNotice } from '../run-store.ts'
import type { Database } from './database.ts'
import type { Statement } from './messages.ts'

const ADD = 'INSERT INTO notices (id, at, due, body) VALUES (?1, ?2, ?2, ?3) ON CONFLICT DO NOTHING'
/** The time is that of a clock which somebody can set: it may be before what the last process has written. */
const FREE = `UPDATE notices SET at = min(at, ?1), is_taken = 0,
  due = min(due, iif(is_taken = 1 OR at > ?1, ?1, ?1 + ${LONGEST_PUT_OFF_MS}))
  WHERE is_taken = 1 OR at > ?1 OR due > ?1 + ${LONGEST_PUT_OFF_MS}`
const TAKE = `UPDATE notices SET due = ?1 + ?2, attempts = attempts + 1, is_taken = 1
  WHERE n IN (SELECT n FROM notices WHERE due <= ?1 ORDER BY due, n LIMIT ?3)
  RETURNING id, body, attempts AS attempt, max(0, ?1 - at) AS ageMs, n`
const REMOVE = 'DELETE FROM notices WHERE id = ?1'
const PUT_OFF = 'UPDATE notices SET due = ?2, is_taken = 0 WHERE id = ?1'
const TRIM = 'DELETE FROM notices WHERE n <= (SELECT n FROM notices ORDER BY n DESC LIMIT 1 OFFSET ?1)'
const COUNT = 'SELECT count(*) AS count FROM notices'

type DueRow = { id: string; body: Uint8Array; attempt: number; ageMs: number; n: number }

/** The notices of a SQLite file. */
export class SqliteOutbox implements Outbox {
  readonly #database: Database
  readonly #clock: Pick<Runtime, 'now' | 'wallClock'>
  /** The wall clock less the time of the process, as the file was opened. */
  #offset: number

  constructor(database: Database, clock: Pick<Runtime, 'now' | 'wallClock'>) {
    this.#database = database
    this.#clock = clock
    this.#offset = clock.wallClock() - clock.now()
  }

  /** The file was opened: what the last process had taken is due. */
  async reopen(): Promise<void> {
    this.#offset = this.#clock.wallClock() - this.#clock.now()
    await this.#database.write([{ sql: FREE, params: [this.#now] }])
  }

  /** What adds notices, for a transaction that has more. */
  adding(notices: readonly StoredNotice[]): Statement[] {
    return notices.map(({ id, body }) => ({ sql: ADD, params: [id, this.#now, body] }))
  }

  async add(notices: readonly StoredNotice[]): Promise<void> {
    await this.#database.write(this.adding(notices))
  }

  async take(most: number, forMs: number): Promise<DueNotice[]> {
    const rows = await this.#database.read<DueRow>(TAKE, [this.#now, forMs, most])
    return rows.sort((a, b) => a.n - b.n).map(({ n: _, ...notice }) => notice)
  }

  async remove(id: string): Promise<void> {
    await this.#database.write([{ sql: REMOVE, params: [id] }])
  }

  async putOff(id: string, ms: number): Promise<void> {
    await this.#database.write([{ sql: PUT_OFF, params: [id, this.#now + Math.round(ms)] }])
  }

  async trim(most: number): Promise<{ removed: number; left: number }> {
    const [[removed = 0], [row]] = await Promise.all([
      this.#database.write([{ sql: TRIM, params: [most] }]),
      this.#database.read<{ count: number }>(COUNT),
    ])
    return { removed, left: row?.count ?? 0 }
  }

  /** In epoch milliseconds. While the file is open, no setting of the clock changes it. */
  get #now(): number {
    return Math.floor(this.#offset + this.#clock.now())
  }
}

import type { Runtime, Timer } from '../../../protocol/runtime.ts'
import type { Database } from './database.ts'
import { BYTES_OF_ROW } from './rows.ts'

/** How often the file is looked through, in milliseconds. */
const PASS_MS = 60_000
/** The wait between two slices of work, in which others use the file, in milliseconds. */
const SLICE_MS = 5
/** The most runs that one slice removes. */
const RUNS_PER_SLICE = 64
/** The most batches that one slice deletes. */
const BATCHES_PER_SLICE = 256
/** The most pages that one slice gives back to the disk. */
const PAGES_PER_SLICE = 256
/** Of this fraction, the file may have pages that are free: it will need them again. */
const FREE = 1 / 8
/** A full file is looked through again once this fraction of its limit was added. */
const GROWTH = 1 / 32

/** How long runs are kept, and how much of them. */
export type RetentionOptions = {
  /** How long a run is kept after its end, in milliseconds. */
  readonly keepMs: number
  /** The most bytes of the file. */
  readonly maxBytes: number
  /** The most bytes of one run's log. */
  readonly maxRunBytes: number
}

/** What one run adds to the file. */
export type RunGrowth = { grew(bytes: number): void }

/**
 * Removes what is no longer kept: runs whose time is over, the oldest ended ones when the file is too large, and the
 * beginning of a log that is too long. It works in small slices, and nothing waits for it.
 */
export class Retention {
  readonly #database: Database
  readonly #runtime: Pick<Runtime, 'now' | 'wallClock' | 'setTimer'>
  readonly #options: RetentionOptions
  #timer: Timer | undefined
  #pass: Promise<void> | undefined
  #isAgain = false
  #isStopped = true
  #grown = 0
  #wake: (() => void) | undefined

  constructor(database: Database, runtime: Pick<Runtime, 'now' | 'wallClock' | 'setTimer'>, options: RetentionOptions) {
    this.#database = database
    this.#runtime = runtime
    this.#options = options
  }

  start(): void {
    this.#isStopped = false
    this.soon()
  }

  /** Ends the work after the slice that it is in. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.clear()
    this.#wake?.()
    await this.#pass
  }

  /** Looks through the file at once, or once more after the pass that is under way. */
  soon(): void {
    if (this.#isStopped) return
    this.#isAgain = true
    this.#pass ??= this.#passes()
  }

  /** Watches the log of one run. @param bytes that it has. */
  ofRun(run: number, bytes: number): RunGrowth {
    const { maxBytes, maxRunBytes } = this.#options
    let size = bytes
    let isTrimming = false
    const trim = async (): Promise<void> => {
      isTrimming = true
      // A sixteenth is left free, so that a log that is full is not trimmed with every append.
      const kept = maxRunBytes - Math.ceil(maxRunBytes / 16)
      while (size > kept) {
        const before = size
        const freed = await this.#trim(run, size - kept)
        size -= freed
        if (freed === 0 && size === before) break
      }
      isTrimming = false
    }
    return {
      grew: (more) => {
        size += more
        this.#grown += more
        if (size > maxRunBytes && !isTrimming) trim().catch(() => (isTrimming = false))
        if (this.#grown > maxBytes * GROWTH) this.soon()
      },
    }
  }

  /** Deletes the oldest batches of a run, but never its last one, and waits a little. Gives the bytes that are free now. */
  async #trim(run: number, excess: number): Promise<number> {
    const bytes = (): Promise<{ bytes: number }[]> => this.#database.read(BYTES_OF, [run], { run })
    const [[before], , [after]] = await Promise.all([
      bytes(),
      this.#database.write([
        { sql: SHRINK_STATE, params: [run, excess, BATCHES_PER_SLICE] },
        { sql: TRIM_BATCHES, params: [run, excess, BATCHES_PER_SLICE] },
      ]),
      bytes(),
    ])
    await this.#pause()
    return (before?.bytes ?? 0) - (after?.bytes ?? 0)
  }

  async #passes(): Promise<void> {
    this.#timer?.clear()
    while (this.#isAgain && !this.#isStopped) {
      this.#isAgain = false
      this.#grown = 0
      // The file has failed. It is looked through again after a while, and those who need it learn it themselves.
      await this.#onePass().catch(() => {})
    }
    this.#pass = undefined
    if (!this.#isStopped) this.#timer = this.#runtime.setTimer(PASS_MS, () => this.soon())
  }

  async #onePass(): Promise<void> {
    const { keepMs, maxBytes } = this.#options
    const before = Math.floor(this.#runtime.wallClock() - keepMs)
    // Rows with the tails of several runs stay for the one that says nothing more.
    await this.#database.write([], 'all')
    await this.#repeat(() => this.#change(REMOVE_EXPIRED, [before, RUNS_PER_SLICE]))
    await this.#sweep()
    await this.#repeat(async () => {
      const { used } = await this.#size()
      if (used <= maxBytes) return false
      const removed = await this.#change(REMOVE_OLDEST, [used - maxBytes, RUNS_PER_SLICE])
      await this.#sweep()
      return removed
    })
    await this.#repeat(async () => {
      const { used, free, page } = await this.#size()
      const isUsual = free <= (used + free) * FREE || free <= PAGES_PER_SLICE * page
      if (free === 0 || (isUsual && used + free <= maxBytes)) return false
      await this.#database.read(GIVE_BACK)
      return true
    })
  }

  /** Deletes the batches of removed runs. */
  async #sweep(): Promise<void> {
    await this.#repeat(async () => {
      const changes = await this.#database.write([
        { sql: SWEEP_BATCHES, params: [RUNS_PER_SLICE, BATCHES_PER_SLICE] },
        { sql: SWEEP_RUNS, params: [RUNS_PER_SLICE] },
      ])
      return changes.some((each) => each > 0)
    })
  }

  /** Bytes of the file that are used and free, and those of one page. */
  async #size(): Promise<{ used: number; free: number; page: number }> {
    const [[size], [count], [free]] = await Promise.all([
      this.#database.read<{ page_size: number }>('PRAGMA page_size'),
      this.#database.read<{ page_count: number }>('PRAGMA page_count'),
      this.#database.read<{ freelist_count: number }>('PRAGMA freelist_count'),
    ])
    const page = size!.page_size
    return { used: (count!.page_count - free!.freelist_count) * page, free: free!.freelist_count * page, page }
  }

  async #change(sql: string, params: readonly number[]): Promise<boolean> {
    const [changes] = await this.#database.write([{ sql, params }])
    return changes! > 0
  }

  /** Repeats a slice until it has nothing left to do. */
  async #repeat(slice: () => Promise<boolean>): Promise<void> {
    while (!this.#isStopped && (await slice())) await this.#pause()
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#runtime.setTimer(SLICE_MS, resolve)
      this.#wake = () => {
        timer.clear()
        resolve()
      }
    })
  }
}

const BYTES_OF = 'SELECT bytes FROM states WHERE run = ?1'
const REMOVE_EXPIRED = `DELETE FROM runs WHERE n IN (
  SELECT run FROM states WHERE ended_at < ?1 ORDER BY ended_at, run LIMIT ?2)`
/** The ended runs that ended first, as many as have ?1 bytes together. */
const REMOVE_OLDEST = `DELETE FROM runs WHERE n IN (
  SELECT run FROM (
    SELECT run, sum(bytes) OVER (ORDER BY ended_at, run) - bytes AS before FROM states
    WHERE ended_at IS NOT NULL ORDER BY ended_at, run LIMIT ?2)
  WHERE before < ?1)`
const SWEEP_BATCHES = `DELETE FROM batches WHERE n IN (
  SELECT n FROM batches WHERE run IN (SELECT run FROM garbage ORDER BY run LIMIT ?1) LIMIT ?2)`
const SWEEP_RUNS = `DELETE FROM garbage WHERE run IN (SELECT run FROM garbage ORDER BY run LIMIT ?1)
  AND NOT EXISTS (SELECT 1 FROM batches WHERE batches.run = garbage.run)`
/** The oldest batches of run ?1 that have ?2 bytes together, without its last one. */
const OLDEST_BATCHES = `SELECT n, size FROM (
    SELECT n, size, sum(size) OVER (ORDER BY first) - size AS before FROM (
      SELECT n, first, ${BYTES_OF_ROW} AS size FROM batches
      WHERE run = ?1 AND first < (SELECT max(first) FROM batches WHERE run = ?1) ORDER BY first LIMIT ?3))
  WHERE before < ?2`
const SHRINK_STATE = `UPDATE states SET bytes = bytes - (SELECT coalesce(sum(size), 0) FROM (${OLDEST_BATCHES}))
  WHERE run = ?1`
const TRIM_BATCHES = `DELETE FROM batches WHERE n IN (SELECT n FROM (${OLDEST_BATCHES}))`
const GIVE_BACK = `PRAGMA incremental_vacuum(${PAGES_PER_SLICE})`

import { pack, unpack } from 'msgpackr'
import type { SqliteFile, SqliteStatement } from './file.ts'
import type { TailAppend, Unsettled } from './messages.ts'
import { ADD_ROW, type RowBatch, rowOf } from './rows.ts'

/** A tail of this many bytes becomes a row at once. */
const TAIL_BYTES = 16_384
/** The most bytes of all tails. */
const MOST_BYTES = 4_194_304
/** The most messages whose appends are tails. */
const MOST_ROWS = 64
/** Of this fraction of all tails, those that are due become rows at once. The others have to wait for the next message. */
const SLICE = 1 / 32
const LEAST_SLICE = 8

/** What was appended to one run, and is no row of `batches` yet. */
type Tail = {
  readonly run: number
  readonly gen: number
  /** The row of `tails` that has the oldest of it. */
  readonly since: number
  readonly batches: RowBatch[]
  next: number
  bytes: number
  usage: Uint8Array | null
}

/** A tail as it was before a transaction. */
type TailBefore = Pick<Tail, 'next' | 'bytes' | 'usage'> & { readonly tail: Tail; readonly count: number }

/** Adds items to the state of a run, if they are the next ones of the life that has it. */
export const APPEND_ITEMS = `UPDATE states SET next = ?4, bytes = bytes + ?5, usage = coalesce(?6, usage)
  WHERE run = ?1 AND gen = ?2 AND next = ?3 AND ended_at IS NULL`
/**
 * Small appends to many runs, until they become rows. A row of `batches` for each would write a page of its index for
 * each run, however little was said. So all appends of one message are one row of the table `tails`, which is on the disk
 * when they are answered; what a run has there becomes one row of `batches` when somebody needs it, when it is large, or
 * when it is old. Memory has a copy, which is read when the file is opened, and goes back with a transaction that fails:
 * while a disk is full, many do.
 */
export class Tails {
  readonly #findState: SqliteStatement
  readonly #findNumber: SqliteStatement
  readonly #appendItems: SqliteStatement
  readonly #addBatches: SqliteStatement
  readonly #addRow: SqliteStatement
  readonly #forgetRows: SqliteStatement
  readonly #allRows: SqliteStatement
  /** By run. The oldest comes first. */
  readonly #tails = new Map<number, Tail>()
  #bytes = 0
  /** The appends of this message, which are no row yet. */
  #fresh: TailAppend[] = []
  /** The oldest row that there is, and the number of the next one. */
  #firstRow = 1
  #nextRow = 1
  /** What is in memory may not be what the file has. */
  #isUnknown = true
  /** The tails that this transaction has changed, as they were; undefined: new ones. */
  readonly #changed = new Map<number, TailBefore | undefined>()
  #before = { bytes: 0, firstRow: 1, nextRow: 1 }

  constructor(file: SqliteFile) {
    this.#findState = file.prepare('SELECT gen, next FROM states WHERE run = ?1 AND ended_at IS NULL')
    this.#findNumber = file.prepare('SELECT n FROM runs WHERE id = ?1')
    this.#appendItems = file.prepare(APPEND_ITEMS)
    this.#addBatches = file.prepare(ADD_ROW)
    this.#addRow = file.prepare('INSERT INTO tails (n, packed) VALUES (?1, ?2)')
    this.#forgetRows = file.prepare('DELETE FROM tails WHERE n < ?1')
    this.#allRows = file.prepare('SELECT n, packed FROM tails ORDER BY n')
  }

  /** A transaction has begun. */
  begin(): void {
    if (this.#isUnknown) this.#load()
    this.#isUnknown = false
    this.#changed.clear()
    this.#before = { bytes: this.#bytes, firstRow: this.#firstRow, nextRow: this.#nextRow }
  }

  /** The transaction is rolled back. */
  undo(): void {
    let isOrdered = true
    for (const [run, was] of this.#changed) {
      if (!was) this.#tails.delete(run)
      else {
        const { tail, count, next, bytes, usage } = was
        isOrdered &&= this.#tails.get(run) === tail
        tail.batches.length = count
        this.#tails.set(run, Object.assign(tail, { next, bytes, usage }))
      }
    }
    if (!isOrdered) this.#order()
    this.#fresh = []
    this.#bytes = this.#before.bytes
    this.#firstRow = this.#before.firstRow
    this.#nextRow = this.#before.nextRow
  }

  #order(): void {
    const all = [...this.#tails.values()].sort((a, b) => a.since - b.since)
    this.#tails.clear()
    for (const tail of all) this.#tails.set(tail.run, tail)
  }

  /** Keeps what a tail was when the transaction began. */
  #changes(run: number, tail: Tail | undefined): void {
    if (this.#changed.has(run)) return
    const was = tail && { tail, count: tail.batches.length, next: tail.next, bytes: tail.bytes, usage: tail.usage }
    this.#changed.set(run, was)
  }

  /** Reads what the file has, and forgets all else. */
  #load(): void {
    this.#tails.clear()
    this.#fresh = []
    this.#bytes = 0
    const rows = this.#allRows.all([]) as { n: number; packed: ArrayBuffer }[]
    this.#firstRow = this.#nextRow = rows[0]?.n ?? 1
    for (const { n, packed } of rows) {
      this.#nextRow = n
      // What became a row meanwhile is refused.
      for (const append of unpack(new Uint8Array(packed)) as TailAppend[]) this.#add(append)
      this.#nextRow = n + 1
    }
  }

  /** Adds items to a run. Returns false when they are not the next ones of the life that has it, or it has ended. */
  append(append: TailAppend): boolean {
    if (!this.#add(append)) return false
    const tail = this.#tails.get(append[0])!
    if (tail.bytes < TAIL_BYTES) this.#fresh.push(append)
    else this.#settle(tail)
    return true
  }

  #add([run, gen, first, last, at, index, bodies, open, usage]: TailAppend): boolean {
    let tail = this.#tails.get(run)
    if (!tail) {
      const [state] = this.#findState.all([run]) as { gen: number; next: number }[]
      if (state?.gen !== gen || state.next !== first) return false
      this.#changes(run, undefined)
      tail = { run, gen, since: this.#nextRow, batches: [], next: first, bytes: 0, usage: null }
      this.#tails.set(run, tail)
    } else if (tail.gen !== gen || tail.next !== first) return false
    else this.#changes(run, tail)
    const size = index.length + bodies.length + (open?.length ?? 0)
    tail.batches.push([first, last, at, index, bodies, open])
    tail.next = last + 1
    tail.bytes += size
    tail.usage = usage ?? tail.usage
    this.#bytes += size
    return true
  }

  /** Makes rows of what somebody needs: that of one run, by its number or its id, or all. */
  settle(what: Unsettled): void {
    if (this.#tails.size === 0) return
    if (what === 'all') for (const tail of [...this.#tails.values()]) this.#settle(tail)
    else {
      const run = 'run' in what ? what.run : (this.#findNumber.all([what.id])[0]?.['n'] as number | undefined)
      const tail = run === undefined ? undefined : this.#tails.get(run)
      if (tail) this.#settle(tail)
    }
  }

  #settle(tail: Tail): void {
    const { run, gen, batches, next, bytes, usage } = tail
    this.#changes(run, tail)
    this.#tails.delete(run)
    this.#bytes -= bytes
    // Whoever changes the state of a run asks for its tail first.
    if (this.#appendItems.run([run, gen, batches[0]![0], next, bytes, usage]).changes === 0) {
      this.#isUnknown = true
      throw new Error(`the tail of run ${run} does not follow its log`)
    }
    this.#addBatches.run(rowOf(run, gen, batches, bytes))
  }

  /** Writes what was appended since the last time. The transaction that it is in must be committed. */
  write(): void {
    if (this.#fresh.length > 0) {
      this.#addRow.run([this.#nextRow++, pack(this.#fresh)])
      this.#fresh = []
    }
    let most = Math.max(LEAST_SLICE, Math.ceil(this.#tails.size * SLICE))
    for (const tail of this.#tails.values()) {
      const isDue = this.#bytes > MOST_BYTES || tail.since + MOST_ROWS < this.#nextRow
      if (!isDue || most-- === 0) break
      this.#settle(tail)
    }
    const oldest = this.#tails.values().next().value?.since ?? this.#nextRow
    if (this.#firstRow === oldest) return
    this.#forgetRows.run([oldest])
    this.#firstRow = oldest
  }
}

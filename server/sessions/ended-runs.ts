import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/principal.ts'

/** Extra time for an ended run that still has a reader, in milliseconds. */
const STILL_READ_MS = 1_000

/** An ended run, as far as it concerns how long the run is kept. */
export interface EndedRun {
  readonly principal: Principal
  /** The memory that the run takes, approximately, in bytes. */
  readonly retainedBytes: number
  /** The number of its current readers. */
  readonly readers: number
}

/** An ended run, or only its key. */
type Entry<Run> = {
  readonly owner: string
  endedAt: number
  bytes: number
  run: Run | undefined
  key: string | undefined
}

/** Calls by which ended runs are dropped. */
export interface EndedRunsCallbacks<Run> {
  /** Drops the run's log and end. Returns its key, which stays in use, if it has one. */
  evict(run: Run): string | undefined
  /** Drops the run and its key. */
  forget(run: Run): void
  /** Frees the key of an evicted run. */
  forgetKey(key: string): void
}

/**
 * Ended runs, kept for clients that come back. Each run is kept for `endedMs`, with its log and end. The bytes of all
 * logs are limited on the node (`retainTotal`) and for each principal (`retainPrincipal`). When a limit is exceeded,
 * the oldest runs lose log and end, and only their keys stay. Runs that are being read come last.
 */
export class EndedRuns<Run extends EndedRun> {
  readonly #runtime: Runtime
  readonly #limits: Pick<Limits, 'endedMs' | 'retainTotal' | 'retainPrincipal'>
  readonly #callbacks: EndedRunsCallbacks<Run>
  /** All entries, in the order in which they ended. */
  readonly #entries = new Set<Entry<Run>>()
  /** The entries that still have a log, the next to lose it first: all of them, and by principal. */
  readonly #logged = new Set<Entry<Run>>()
  readonly #owned = new Map<string, { bytes: number; entries: Set<Entry<Run>> }>()
  #bytes = 0
  #timer: Timer | undefined
  /** Runs that are dropped as soon as nobody reads them, and when that is looked at next. */
  readonly #unwanted = new Set<Run>()
  #look: Timer | undefined

  constructor(
    runtime: Runtime,
    limits: Pick<Limits, 'endedMs' | 'retainTotal' | 'retainPrincipal'>,
    callbacks: EndedRunsCallbacks<Run>,
  ) {
    this.#runtime = runtime
    this.#limits = limits
    this.#callbacks = callbacks
  }

  /** Adds a run that has ended. */
  add(run: Run): void {
    const { id, pool } = run.principal
    // A pool and a principal may have the same name.
    const owner = pool === undefined ? `principal ${id}` : `pool ${pool}`
    const bytes = run.retainedBytes
    const entry: Entry<Run> = { owner, endedAt: this.#runtime.now(), bytes, run, key: undefined }
    this.#entries.add(entry)
    this.#logged.add(entry)
    const owned = this.#owned.get(owner) ?? { bytes: 0, entries: new Set() }
    this.#owned.set(owner, owned)
    owned.entries.add(entry)
    owned.bytes += bytes
    this.#bytes += bytes
    this.#makeRoom(owner)
    this.#arm()
  }

  /** Runs that are kept. */
  get size(): number {
    return this.#entries.size
  }

  /** The bytes that all runs with a log take. */
  get bytes(): number {
    return this.#bytes
  }

  /** Drops the logs of the oldest runs until at most `bytes` are left. */
  shrinkTo(bytes: number): void {
    while (this.#bytes > bytes) this.#evictOne(this.#logged)
  }

  /** Drops these runs and their keys now, and those that still have a reader once they have none. */
  drop(runs: Iterable<Run>): void {
    const unwanted = new Set([...this.#unwanted, ...runs])
    this.#unwanted.clear()
    if (unwanted.size === 0) return
    for (const entry of this.#entries) {
      const { run } = entry
      if (!run || !unwanted.has(run)) continue
      if (run.readers > 0) this.#unwanted.add(run)
      else this.#remove(entry, run)
    }
    if (this.#unwanted.size === 0) return
    this.#look ??= this.#runtime.setTimer(STILL_READ_MS, () => {
      this.#look = undefined
      this.drop([])
    })
  }

  #remove(entry: Entry<Run>, run: Run): void {
    this.#entries.delete(entry)
    this.#releaseLog(entry)
    this.#callbacks.forget(run)
  }

  /** Stops the timers. */
  clear(): void {
    this.#timer?.clear()
    this.#look?.clear()
  }

  #makeRoom(owner: string): void {
    const { retainTotal, retainPrincipal } = this.#limits
    while ((this.#owned.get(owner)?.bytes ?? 0) > retainPrincipal) this.#evictOne(this.#owned.get(owner)?.entries)
    this.shrinkTo(retainTotal)
  }

  /** Evicts the first run that nobody reads, or else the first. Runs that are passed over go to the end. */
  #evictOne(entries: Set<Entry<Run>> = new Set()): void {
    let [entry] = entries
    for (let left = entries.size; entry?.run?.readers && left > 0; left--) {
      entries.delete(entry)
      entries.add(entry)
      ;[entry] = entries
    }
    if (!entry?.run) return
    const { run } = entry
    this.#releaseLog(entry)
    entry.key = this.#callbacks.evict(run)
    if (entry.key === undefined) this.#entries.delete(entry)
  }

  /** Removes the entry's log from the totals. */
  #releaseLog(entry: Entry<Run>): void {
    entry.run = undefined
    this.#logged.delete(entry)
    this.#bytes -= entry.bytes
    const owned = this.#owned.get(entry.owner)
    if (!owned) return
    owned.bytes -= entry.bytes
    owned.entries.delete(entry)
    if (owned.entries.size === 0) this.#owned.delete(entry.owner)
  }

  /** Sets one timer for all entries, because they expire in the order in which they ended. */
  #arm(): void {
    if (this.#timer) return
    const [oldest] = this.#entries
    if (!oldest) return
    const ms = Math.max(0, oldest.endedAt + this.#limits.endedMs - this.#runtime.now())
    this.#timer = this.#runtime.setTimer(ms, () => {
      this.#timer = undefined
      this.#expire()
      this.#arm()
    })
  }

  #expire(): void {
    const now = this.#runtime.now()
    for (const entry of this.#entries) {
      if (entry.endedAt + this.#limits.endedMs > now) return
      const { run, key } = entry
      this.#entries.delete(entry)
      if (run && run.readers > 0) {
        // A reader is still there, so the entry stays. It moves to the end, where this loop stops at it.
        entry.endedAt = now + STILL_READ_MS
        this.#entries.add(entry)
      } else if (run) this.#remove(entry, run)
      else if (key !== undefined) this.#callbacks.forgetKey(key)
    }
  }
}

import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { Principal } from '../actors/principal.ts'

/** What an ended run that is still read stays longer than others. */
const STILL_READ_MS = 1_000

/** A run that has ended, as far as it must be known to be kept. */
export interface EndedRun {
  readonly principal: Principal
  /** Bytes that it takes, about. */
  readonly retainedBytes: number
  /** How many read it now. */
  readonly readers: number
}

/** An ended run, or the key that is left of it. */
type Entry<Run> = {
  readonly owner: string
  endedAt: number
  bytes: number
  run: Run | undefined
  key: string | undefined
}

/** What becomes of an ended run in the end. */
export interface EndedRunsCallbacks<Run> {
  /** Log and end are given up. Returns the key that still answers for the run, if it had one. */
  evict(run: Run): string | undefined
  /** Run and key are given up. */
  forget(run: Run): void
  /** The key of an evicted run is free again. */
  forgetKey(key: string): void
}

/**
 * Ended runs, kept for who comes back: each `endedMs` long with log and end, unless the node's or the principal's
 * allowance of bytes runs out; then the oldest is given up first and only its key stays.
 */
export class EndedRuns<Run extends EndedRun> {
  readonly #runtime: Runtime
  readonly #limits: Pick<Limits, 'endedMs' | 'retainTotal' | 'retainPrincipal'>
  readonly #callbacks: EndedRunsCallbacks<Run>
  /** In the order in which they ended. */
  readonly #entries = new Set<Entry<Run>>()
  /** Those that still have a log, in the same order: all of them, and by principal. */
  readonly #logged = new Set<Entry<Run>>()
  readonly #owned = new Map<string, { bytes: number; entries: Set<Entry<Run>> }>()
  #bytes = 0
  #timer: Timer | undefined

  constructor(
    runtime: Runtime,
    limits: Pick<Limits, 'endedMs' | 'retainTotal' | 'retainPrincipal'>,
    callbacks: EndedRunsCallbacks<Run>,
  ) {
    this.#runtime = runtime
    this.#limits = limits
    this.#callbacks = callbacks
  }

  add(run: Run): void {
    const owner = run.principal.id
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

  clear(): void {
    this.#timer?.clear()
  }

  #makeRoom(owner: string): void {
    const { retainTotal, retainPrincipal } = this.#limits
    while ((this.#owned.get(owner)?.bytes ?? 0) > retainPrincipal) this.#evictFirst(this.#owned.get(owner)?.entries)
    while (this.#bytes > retainTotal) this.#evictFirst(this.#logged)
  }

  #evictFirst([entry]: Iterable<Entry<Run>> = []): void {
    if (!entry?.run) return
    const { run } = entry
    this.#lighten(entry)
    entry.key = this.#callbacks.evict(run)
    if (entry.key === undefined) this.#entries.delete(entry)
  }

  /** The entry has no log any more. */
  #lighten(entry: Entry<Run>): void {
    entry.run = undefined
    this.#logged.delete(entry)
    this.#bytes -= entry.bytes
    const owned = this.#owned.get(entry.owner)
    if (!owned) return
    owned.bytes -= entry.bytes
    owned.entries.delete(entry)
    if (owned.entries.size === 0) this.#owned.delete(entry.owner)
  }

  /** One timer for all: they leave in the order in which they came. */
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
        // Somebody still reads it: it stays, and takes its place at the end, not to be met again at once.
        entry.endedAt = now + STILL_READ_MS
        this.#entries.add(entry)
      } else if (run) {
        this.#lighten(entry)
        this.#callbacks.forget(run)
      } else if (key !== undefined) this.#callbacks.forgetKey(key)
    }
  }
}

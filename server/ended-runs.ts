import type { Limits } from '../protocol/limits.ts'
import type { Runtime, Timer } from '../protocol/runtime.ts'
import type { Run } from './run.ts'

type Entry = { readonly run: Run; endedAt: number; bytes: number }

/**
 * Ended runs, kept for who comes back: each `endedMs` long with log and end, unless the node's or the principal's
 * allowance of bytes runs out; then the oldest loses its log first and only its key stays.
 */
export class EndedRuns {
  readonly #runtime: Runtime
  readonly #limits: Pick<Limits, 'endedMs' | 'retainTotal' | 'retainPrincipal'>
  readonly #evict: (run: Run) => void
  readonly #forget: (run: Run) => void
  /** In the order in which they ended. */
  readonly #entries = new Map<Run, Entry>()
  readonly #bytesOf = new Map<string, number>()
  #bytes = 0
  #timer: Timer | undefined

  /**
   * @param evict gives up log and end of a run; its key still answers.
   * @param forget gives up everything.
   */
  constructor(
    runtime: Runtime,
    limits: Pick<Limits, 'endedMs' | 'retainTotal' | 'retainPrincipal'>,
    evict: (run: Run) => void,
    forget: (run: Run) => void,
  ) {
    this.#runtime = runtime
    this.#limits = limits
    this.#evict = evict
    this.#forget = forget
  }

  add(run: Run): void {
    const entry: Entry = { run, endedAt: this.#runtime.now(), bytes: run.log.size }
    this.#entries.set(run, entry)
    this.#count(entry, entry.bytes)
    const { retainTotal, retainPrincipal } = this.#limits
    const owner = run.principal.id
    if (this.#bytes > retainTotal || (this.#bytesOf.get(owner) ?? 0) > retainPrincipal) this.#makeRoom(owner)
    this.#arm()
  }

  clear(): void {
    this.#timer?.clear()
  }

  #makeRoom(owner: string): void {
    const { retainTotal, retainPrincipal } = this.#limits
    for (const entry of this.#entries.values()) {
      const ownerIsOver = (this.#bytesOf.get(owner) ?? 0) > retainPrincipal
      if (this.#bytes <= retainTotal && !ownerIsOver) return
      if (entry.bytes === 0 || (this.#bytes <= retainTotal && entry.run.principal.id !== owner)) continue
      this.#count(entry, -entry.bytes)
      entry.bytes = 0
      this.#evict(entry.run)
    }
  }

  #count(entry: Entry, bytes: number): void {
    const owner = entry.run.principal.id
    const left = (this.#bytesOf.get(owner) ?? 0) + bytes
    this.#bytes += bytes
    if (left === 0) this.#bytesOf.delete(owner)
    else this.#bytesOf.set(owner, left)
  }

  /** One timer for all: they leave in the order in which they came. */
  #arm(): void {
    if (this.#timer) return
    const [oldest] = this.#entries.values()
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
    for (const entry of this.#entries.values()) {
      if (entry.endedAt + this.#limits.endedMs > now) return
      this.#entries.delete(entry.run)
      if (entry.run.readers > 0) {
        // Somebody still reads it: it stays, and takes its place at the end.
        entry.endedAt = now
        this.#entries.set(entry.run, entry)
        continue
      }
      this.#count(entry, -entry.bytes)
      this.#forget(entry.run)
    }
  }
}

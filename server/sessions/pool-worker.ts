import type { Runtime, Timer } from '../../protocol/runtime.ts'
import type { PoolRuns } from '../stores/run-store.ts'

/** How often a pool is looked at, whatever is heard of it, in milliseconds. */
const LOOK_MS = 1_000

/** What a worker does with its pool. */
export type PoolWorkerCallbacks = {
  /** The number of further runs for which there is room. */
  free(): number
  /** Takes a run, if nobody has it. Resolves with whether it did. */
  take(id: string): Promise<boolean>
  /** The store failed, and is asked again. */
  failed(error: unknown): void
  succeeded(): void
}

/**
 * Takes runs from a pool while there is room for them. It looks when it hears that one waits, when a slot is free again,
 * and now and then by itself.
 */
export class PoolWorker {
  readonly #pool: string
  readonly #runtime: Pick<Runtime, 'setTimer' | 'random'>
  readonly #runs: PoolRuns
  readonly #callbacks: PoolWorkerCallbacks
  #looksAgain = false
  #isLooking = false
  #isClosed = false
  #timer: Timer | undefined
  #stop = (): void => {}

  constructor(
    pool: string,
    runtime: Pick<Runtime, 'setTimer' | 'random'>,
    runs: PoolRuns,
    callbacks: PoolWorkerCallbacks,
  ) {
    this.#pool = pool
    this.#runtime = runtime
    this.#runs = runs
    this.#callbacks = callbacks
  }

  async begin(): Promise<void> {
    const stop = await this.#runs.listen(this.#pool, () => this.look())
    if (this.#isClosed) stop()
    else {
      this.#stop = stop
      this.look()
      this.#lookLater()
    }
  }

  /** Takes nothing any more. */
  close(): void {
    this.#isClosed = true
    this.#timer?.clear()
    this.#stop()
  }

  /** A run may wait, or there may be room for one again. */
  look(): void {
    this.#looksAgain = true
    if (this.#isLooking || this.#isClosed) return
    this.#isLooking = true
    void this.#takeAll().finally(() => {
      this.#isLooking = false
    })
  }

  #lookLater(): void {
    this.#timer = this.#runtime.setTimer(LOOK_MS * (0.9 + this.#runtime.random() / 5), () => {
      this.look()
      this.#lookLater()
    })
  }

  async #takeAll(): Promise<void> {
    try {
      while (this.#looksAgain && !this.#isClosed) {
        this.#looksAgain = false
        const free = this.#callbacks.free()
        if (free <= 0) return
        const waiting = await this.#runs.waiting(this.#pool, free)
        // Other workers may have been faster.
        await Promise.all(waiting.map((id) => this.#callbacks.take(id)))
        this.#callbacks.succeeded()
        if (waiting.length === free) this.#looksAgain = true
      }
    } catch (error) {
      this.#callbacks.failed(error)
    }
  }
}

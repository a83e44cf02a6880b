import type { Runtime } from '../../protocol/runtime.ts'
import type { ServerLog } from '../logging/logger.ts'

/** Whether a store works, by what its calls tell. The server's log says when that changes. */
export class StoreHealth {
  readonly #runtime: Pick<Runtime, 'now'>
  readonly #log: Pick<ServerLog, 'write'>
  /** The store has failed, and has taken nothing since. */
  #isDown = false
  /** Since when it works again, if it has failed. */
  #upSince = Number.NEGATIVE_INFINITY

  constructor(runtime: Pick<Runtime, 'now'>, log: Pick<ServerLog, 'write'>) {
    this.#runtime = runtime
    this.#log = log
  }

  get isDown(): boolean {
    return this.#isDown
  }

  /** Whether it has worked for so long. */
  hasWorkedFor(ms: number): boolean {
    return !this.#isDown && this.#runtime.now() - this.#upSince >= ms
  }

  /** A call has failed. */
  readonly failed = (error: unknown): void => {
    if (!this.#isDown) this.#log.write('store.failed', { err: error })
    this.#isDown = true
  }

  /** A call has succeeded. */
  readonly succeeded = (): void => {
    if (!this.#isDown) return
    this.#log.write('store.recovered')
    this.#isDown = false
    this.#upSince = this.#runtime.now()
  }
}

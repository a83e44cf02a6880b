import type { Runtime } from '../../protocol/runtime.ts'

/** An outbox whose time to send has come. */
export interface Flushable {
  /** Sends what waits. It must not throw. */
  flush(): void
}

/**
 * The outboxes of a server that send in the next loop turn, in the order in which they became due. One callback of the
 * event loop serves all of them: where one run has a thousand watchers, a callback for each costs more than their data.
 */
export class FlushQueue {
  readonly #runtime: Runtime
  #due: Flushable[] = []

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  /** Flushes `outbox` in the next loop turn. The caller adds it once in a loop turn. */
  add(outbox: Flushable): void {
    if (this.#due.push(outbox) === 1) this.#runtime.nextTurn(this.#flushAll)
  }

  readonly #flushAll = (): void => {
    const due = this.#due
    // What becomes due meanwhile comes in a later loop turn, after what the sockets have received.
    this.#due = []
    for (const outbox of due) outbox.flush()
  }
}

import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { SharedMessage } from './shared-message.ts'

/** An outbox whose time to send has come. */
export interface Flushable {
  /** The millisecond until which the queue holds it, as `hold` returned it. Undefined if it need not be held any more. */
  readonly heldUntil: number | undefined
  /** Sends what waits. It must not throw. */
  flush(): void
}

/**
 * The outboxes of a server that send in the next loop turn, in the order in which they became due, and those that batch
 * text until a time. One callback of the event loop, and one timer for each millisecond, serve all of them: where one run
 * has a thousand watchers, a callback for each costs more than their data.
 */
export class FlushQueue {
  /** The watchers of a run become due one after another, so the next message is often the same. */
  readonly lastShared: SharedMessage = new SharedMessage()
  readonly #runtime: Runtime
  #due: Flushable[] = []
  /** The held outboxes, by the millisecond of the runtime's clock until which they are held. */
  readonly #held = new Map<number, { readonly outboxes: Flushable[]; readonly timer: Timer }>()

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  /** Flushes `outbox` in the next loop turn. The caller adds it once in a loop turn. */
  add(outbox: Flushable): void {
    if (this.#due.push(outbox) === 1) this.#runtime.nextTurn(this.#flushAll)
  }

  /**
   * Flushes `outbox` in `ms` milliseconds, rounded up to a millisecond that all outboxes share, unless its `heldUntil` has
   * changed by then. Returns the value for `heldUntil`.
   */
  hold(outbox: Flushable, ms: number): number {
    const now = this.#runtime.now()
    const until = Math.ceil(now + ms)
    const held = this.#held.get(until)
    if (held) held.outboxes.push(outbox)
    else {
      const timer = this.#runtime.setTimer(until - now, () => this.#release(until))
      this.#held.set(until, { outboxes: [outbox], timer })
    }
    return until
  }

  /** Stops all timers. The connections of the server are closed, and none of them has anything to send. */
  close(): void {
    for (const { timer } of this.#held.values()) timer.clear()
    this.#held.clear()
  }

  #release(until: number): void {
    const held = this.#held.get(until)
    this.#held.delete(until)
    for (const outbox of held?.outboxes ?? []) if (outbox.heldUntil === until) outbox.flush()
    this.lastShared.clear()
  }

  readonly #flushAll = (): void => {
    const due = this.#due
    // What becomes due meanwhile comes in a later loop turn, after what the sockets have received.
    this.#due = []
    for (const outbox of due) outbox.flush()
    this.lastShared.clear()
  }
}

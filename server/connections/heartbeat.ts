import type { Limits } from '../../protocol/limits.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'

/** A timer that fires this late shows that the process stood still, not that the peer was silent. */
const LATE_MS = 1_000

/** Pings a peer at intervals, and reports one that stays silent for `heartbeatMs` and `pongMs` together. */
export class Heartbeat {
  readonly #runtime: Runtime
  readonly #limits: Pick<Limits, 'heartbeatMs' | 'pongMs'>
  readonly #ping: () => void
  readonly #silent: () => void
  #heardAt: number
  #timer: Timer | undefined

  /** @param silent called once, and no PING follows. */
  constructor(runtime: Runtime, limits: Pick<Limits, 'heartbeatMs' | 'pongMs'>, ping: () => void, silent: () => void) {
    this.#runtime = runtime
    this.#limits = limits
    this.#ping = ping
    this.#silent = silent
    this.#heardAt = runtime.now()
  }

  /** A message of the peer came. */
  heard(): void {
    this.#heardAt = this.#runtime.now()
  }

  /** Waits for the next PING that is due. A timer that fires late begins the wait for the peer anew. */
  start(): void {
    const { heartbeatMs, pongMs } = this.#limits
    const runtime = this.#runtime
    const patienceMs = heartbeatMs + pongMs
    const waitMs = Math.min(heartbeatMs, Math.max(0, this.#heardAt + patienceMs - runtime.now()))
    const due = runtime.now() + waitMs
    this.#timer = runtime.setTimer(waitMs, () => {
      const now = runtime.now()
      if (now - due > LATE_MS) this.#heardAt = now
      if (now - this.#heardAt >= patienceMs) return this.#silent()
      this.#ping()
      this.start()
    })
  }

  stop(): void {
    this.#timer?.clear()
  }
}

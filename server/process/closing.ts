import { CLOSE } from '../../protocol/errors.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { KeepAlive } from '../runtime.ts'
import type { Registry } from '../sessions/registry.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Transport } from '../transports/transport.ts'

/** The longest wait that GOAWAY states: 24 days, which fits into 31 bits. A longer one is stated as that. */
const MAX_GRACE_MS = 2 ** 31 - 1
/** How long last items may take to reach clients, after the time in which runs must settle. */
const DELIVERY_MS = 500
/** How long a port may take to be bound before it is closed all the same. */
const BINDING_MS = 5_000

/** A client that is connected, as a shutdown sees it: over a WebSocket, or with a stream of events over plain HTTP. */
export interface ServedClient {
  /** It reads no run. */
  readonly idle: boolean
  /** It has been sent all that it can take. */
  readonly delivered: boolean
  /** Tells it that the server goes away. */
  goaway(reason: string, graceMs: number): void
  /** Closes it with a code of the protocol. */
  fault(code: number, reason: string): void
}

/** What a shutdown closes, from the outside in. */
export type ClosingParts = {
  /** Its port of WebSockets, and that of plain HTTP if it is another. */
  readonly ports: readonly Pick<Transport, 'stopAccepting' | 'close'>[]
  clients(): readonly Iterable<ServedClient>[]
  readonly registry: Registry
  readonly sessions: Sessions
  /** How long a cancelled run may take to settle. */
  readonly cancelGraceMs: number
  /** Stops telling others what became of runs. Never rejects. */
  closeNotices(): Promise<void> | undefined
  /** Ends what actors keep open between runs. Never rejects. */
  closeActors(): Promise<unknown>
  /** A port that is being bound. Undefined when none is. */
  binding(): Promise<unknown> | undefined
}

/**
 * An orderly shutdown. It refuses what is new, sends GOAWAY, lets live runs go on until its deadline, ends those that
 * remain, delivers their ends, and closes every connection.
 */
export class Closing {
  readonly #runtime: Runtime
  readonly #parts: ClosingParts
  #reason: string | undefined
  #closed: Promise<void> | undefined
  #deadline = Number.POSITIVE_INFINITY
  #waiting: { holds: () => boolean; done: () => void } | undefined
  /** A look at what is awaited is due in the next loop turn. */
  #isChecking = false
  #timer: Timer | undefined
  #isOver = (): void => {}
  /** Resolves when everything is closed. */
  readonly over: Promise<void> = new Promise((resolve) => (this.#isOver = resolve))

  constructor(runtime: Runtime, parts: ClosingParts) {
    this.#runtime = runtime
    this.#parts = parts
  }

  /** Why the server goes away, and how long live runs still have. Undefined until the shutdown begins. */
  get leaving(): { reason: string; graceMs: number } | undefined {
    return this.#reason === undefined ? undefined : { reason: this.#reason, graceMs: this.#graceMs() }
  }

  /** Resolves when everything is closed. A second call shortens the wait, if its `drainMs` ends sooner. */
  close(drainMs: number, reason: string): Promise<void> {
    this.#deadline = Math.min(this.#deadline, this.#runtime.now() + drainMs)
    this.#arm()
    this.#closed ??= this.#shutDown(reason)
    return this.#closed
  }

  /** A run, a stream or a connection is over: perhaps there is nothing left to wait for. */
  check(): void {
    if (!this.#waiting || this.#isChecking) return
    this.#isChecking = true
    // Whatever else happens in this loop turn happens first. One look then covers all of it: there may be much to look at.
    this.#runtime.nextTurn(() => {
      this.#isChecking = false
      if (this.#waiting?.holds()) this.#waiting.done()
    })
  }

  async #shutDown(reason: string): Promise<void> {
    this.#reason = reason
    const { ports, registry, cancelGraceMs } = this.#parts
    const alive = new KeepAlive()
    alive.hold()
    try {
      registry.drain()
      for (const client of this.#clients) client.goaway(reason, this.#graceMs())
      // A port that is being bound cannot be closed: it would be open afterwards, or never reported.
      const binding = this.#parts.binding()
      if (binding) await this.#settled(binding)
      for (const port of ports) port.stopAccepting()
      // A run that is parked is as safe now as it will ever be: another process goes on with it.
      await this.#until(() => {
        const isOver = [...registry.live].every((run) => run.isParked)
        return isOver && (registry.live.size > 0 || this.#every(({ idle }) => idle))
      })
      registry.leaveParked()
      for (const run of registry.live) run.interrupt('the server went away before the run was finished; start it again')
      this.#deadline = this.#runtime.now() + cancelGraceMs + DELIVERY_MS
      await this.#until(() => [...registry.live].every((run) => run.end) && this.#every(({ delivered }) => delivered))
      for (const client of this.#clients) client.fault(CLOSE.draining, 'the server went away')
      this.#parts.sessions.close()
      await this.#parts.closeNotices()
      await Promise.all([registry.close(), ...ports.map((port) => port.close()), this.#parts.closeActors()])
    } finally {
      alive.release()
      this.#isOver()
    }
  }

  /** Whether it holds for every client. It stops at the first for which it does not: it is asked after each step. */
  #every(holds: (client: ServedClient) => boolean): boolean {
    for (const some of this.#parts.clients()) for (const client of some) if (!holds(client)) return false
    return true
  }

  get #clients(): ServedClient[] {
    return this.#parts.clients().flatMap((some) => [...some])
  }

  async #settled(binding: Promise<unknown>): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = this.#runtime.setTimer(BINDING_MS, resolve)
      const done = (): void => {
        timer.clear()
        resolve()
      }
      binding.then(done, done)
    })
  }

  #graceMs(): number {
    return Math.min(MAX_GRACE_MS, Math.max(0, Math.round(this.#deadline - this.#runtime.now())))
  }

  /** Resolves when `holds` does, and at the deadline at the latest. */
  async #until(holds: () => boolean): Promise<void> {
    if (holds()) return
    await new Promise<void>((done) => {
      this.#waiting = { holds, done }
      this.#arm()
    })
    this.#waiting = undefined
    this.#timer?.clear()
  }

  #arm(): void {
    const waiting = this.#waiting
    if (!waiting) return
    this.#timer?.clear()
    this.#timer = this.#runtime.setTimer(this.#graceMs(), () => {
      if (this.#graceMs() > 0) this.#arm()
      else waiting.done()
    })
  }
}

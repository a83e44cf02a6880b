import { MillraceError } from '../../protocol/errors.ts'
import type { OnDetach } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import { CANCEL_CODES, type CancelCause } from '../../protocol/receipt.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { Deadline } from './deadline.ts'
import { StallClock } from './stall-clock.ts'

/** How long a run with `onDetach: 'cancel'` outlives its last connection, unless START says otherwise. */
const CANCEL_DETACHED_MS = 10_000

/** What the clocks of a run report. */
export type ClockCallbacks = {
  /** It took too long, or its readers gave no sign for too long. */
  failed(error: MillraceError): void
  /** Nobody came back to it. */
  left(why: CancelCause): void
}

/** The times after which a run ends by itself: as a whole, while its readers hold it back, and while it has none. */
export class Clocks {
  readonly #runtime: Runtime
  readonly #callbacks: ClockCallbacks
  readonly #deadline: Deadline
  readonly #stall: StallClock
  /** Undefined for a run that goes on detached. */
  readonly #detachMs: number | undefined
  #detach: Timer | undefined

  constructor(
    runtime: Runtime,
    limits: Pick<Limits, 'timeoutMs' | 'stallMs' | 'resumeMs'>,
    options: { timeoutMs: number | undefined; detachMs: number | undefined; onDetach: OnDetach },
    callbacks: ClockCallbacks,
  ) {
    const { stallMs, resumeMs } = limits
    const { onDetach, detachMs } = options
    this.#runtime = runtime
    this.#callbacks = callbacks
    this.#stall = new StallClock(runtime, stallMs, () =>
      callbacks.failed(new MillraceError('stalled', `no reader let the run go on for ${stallMs} ms`)),
    )
    const timeoutMs = Math.min(options.timeoutMs ?? limits.timeoutMs, limits.timeoutMs)
    this.#deadline = new Deadline(runtime, timeoutMs, () =>
      callbacks.failed(new MillraceError('timeout', `the run took longer than ${timeoutMs} ms`)),
    )
    const wantedMs = detachMs ?? (onDetach === 'cancel' ? CANCEL_DETACHED_MS : resumeMs)
    this.#detachMs = onDetach === 'continue' ? undefined : Math.min(wantedMs, resumeMs)
  }

  /** Whether the time of the run stands still: it waits for its readers, or for an input of a client. */
  holdDeadline(isHeld: boolean): void {
    if (isHeld) this.#deadline.hold()
    else this.#deadline.release()
  }

  /** Whether the run waits for its readers. While it does, each call says that one of them may have given a sign. */
  watchStall(isWaiting: boolean): void {
    if (isWaiting) this.#stall.restart()
    else this.#stall.clear()
  }

  /** The principal of the run has no reader any more. */
  detached(): void {
    if (this.#detach || this.#detachMs === undefined) return
    this.#detach = this.#runtime.setTimer(this.#detachMs, () => {
      this.#detach = undefined
      this.#callbacks.left({ by: 'server', code: CANCEL_CODES.detached, note: 'nobody came back to it' })
    })
  }

  /** The principal of the run has a reader again. */
  attached(): void {
    this.#detach?.clear()
    this.#detach = undefined
  }

  /** Stops all of them. */
  clear(): void {
    this.#deadline.clear()
    this.#stall.clear()
    this.attached()
  }
}

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

/** What a run waits for, as far as its clocks are concerned. */
export type Waiting = {
  /** Its readers let it say nothing more, or it waits for an input of one of them. */
  readonly isForReaders: boolean
  /** It waits for people: for an answer, for a client's tool, for the end of a pause. */
  readonly isForPeople: boolean
}

/**
 * The times after which a run ends by itself: as a whole, while its readers hold it back, while it has none, and while it
 * waits for people. The first and the third stand still while it waits for people.
 */
export class Clocks {
  readonly #runtime: Runtime
  readonly #callbacks: ClockCallbacks
  readonly #deadline: Deadline
  readonly #stall: StallClock
  /** Undefined for a run that goes on detached. */
  #detachMs: number | undefined
  #detach: Timer | undefined
  /** Its principal has no reader. */
  #isDetached = false
  readonly #maxWaitMs: number
  #wait: Timer | undefined
  /** A client asked that it does not outlive its readers. */
  readonly #isCancelledDetached: boolean

  constructor(
    runtime: Runtime,
    limits: Pick<Limits, 'timeoutMs' | 'stallMs' | 'resumeMs' | 'maxWaitMs'>,
    options: { timeoutMs: number | undefined; detachMs: number | undefined; onDetach: OnDetach },
    callbacks: ClockCallbacks,
  ) {
    const { stallMs, resumeMs } = limits
    const { onDetach, detachMs } = options
    this.#runtime = runtime
    this.#callbacks = callbacks
    this.#maxWaitMs = limits.maxWaitMs
    this.#isCancelledDetached = onDetach === 'cancel'
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

  /** What is left of the time of the run, in milliseconds. */
  get leftMs(): number {
    return this.#deadline.leftMs
  }

  /** The run waits for something, or for nothing any more. */
  waits({ isForReaders, isForPeople }: Waiting): void {
    if (isForReaders || isForPeople) this.#deadline.hold()
    else this.#deadline.release()
    if (isForPeople === (this.#wait !== undefined)) return
    this.#wait?.clear()
    this.#wait = isForPeople ? this.#runtime.setTimer(this.#maxWaitMs, () => this.#waitedTooLong()) : undefined
    this.#armDetach()
  }

  #waitedTooLong(): void {
    const message = `the run waited longer than ${this.#maxWaitMs} ms for an answer`
    this.#callbacks.failed(new MillraceError('timeout', message))
  }

  /** Whether the run waits for its readers. While it does, each call says that one of them may have given a sign. */
  watchStall(isWaiting: boolean): void {
    if (isWaiting) this.#stall.restart()
    else this.#stall.clear()
  }

  /** The principal of the run has no reader any more. */
  detached(): void {
    this.#isDetached = true
    this.#armDetach()
  }

  /** A run that waits for people keeps, so that they have time, unless a client has asked for the contrary. */
  #armDetach(): void {
    const isHeld = this.#wait !== undefined && !this.#isCancelledDetached
    if (!this.#isDetached || isHeld || this.#detachMs === undefined) {
      this.#detach?.clear()
      this.#detach = undefined
      return
    }
    this.#detach ??= this.#runtime.setTimer(this.#detachMs, () => {
      this.#detach = undefined
      this.#callbacks.left({ by: 'server', code: CANCEL_CODES.detached, note: 'nobody came back to it' })
    })
  }

  /** From now on it goes on without a reader. */
  continueDetached(): void {
    this.#detachMs = undefined
    this.#armDetach()
  }

  /** The principal of the run has a reader again. */
  attached(): void {
    this.#isDetached = false
    this.#armDetach()
  }

  /** Stops all of them. */
  clear(): void {
    this.#deadline.clear()
    this.#stall.clear()
    this.#wait?.clear()
    this.#wait = undefined
    this.attached()
  }
}

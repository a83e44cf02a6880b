import type { RunEvent } from '../../protocol/events.ts'
import type { Scheduler } from './scheduler.ts'

/** Items one run may produce in one event-loop turn. A frame holds so many, and the more the cheaper each. */
const SLICE_ITEMS = 64
/** Most items between two looks at the clock. */
const MOST_STRIDE = 16

export type ActorOutput = string | RunEvent

/** What becomes of a step that was pulled. */
export type PullerCallbacks = {
  item(said: ActorOutput): void
  /** The actor is finished, with a result. */
  done(result: unknown): void
  failed(error: unknown): void
  /** The turn of the next slice has come. */
  resumed(): void
}

/**
 * Asks an actor's iterator for one step after the other, a slice in each turn of the event loop. It pulls with callbacks:
 * a race or a promise of its own for each item costs ten times as much.
 */
export class Puller {
  // What every item touches stands together, as in a production.
  readonly #callbacks: PullerCallbacks
  #pending = false
  #waited = true
  /** The turn in which the step under way was asked for, and whether the last one came in a later turn. */
  #askedIn = -1
  readonly #scheduler: Scheduler
  #queued = false
  #finished = false
  #iterator: AsyncIterator<ActorOutput, unknown> | undefined
  /** The turn whose slice is being taken, what was taken of it, and what of that may be produced without asking. */
  #turn = -1
  #taken = 0
  #free = 0
  /** Items between two looks at the clock: few for an actor that works long for each. */
  #stride = 1
  /** Some were taken in this turn. */
  #hasTaken = false
  /** Its turn has come just now. */
  #called = false

  constructor(scheduler: Scheduler, callbacks: PullerCallbacks) {
    this.#scheduler = scheduler
    this.#callbacks = callbacks
  }

  /** The iterator to pull. Without one the actor never began. */
  begin(iterator: AsyncIterator<ActorOutput, unknown>): void {
    this.#iterator = iterator
  }

  get begun(): boolean {
    return this.#iterator !== undefined
  }

  /** The iterator yields no more. One without `return` has finished with its last step. */
  get finished(): boolean {
    return this.#finished || (!this.#pending && this.#iterator?.return === undefined)
  }

  /** Whether one more thing may be said in this turn. */
  allows(): boolean {
    const { number } = this.#scheduler
    if (number !== this.#turn) {
      this.#turn = number
      this.#free = 0
      this.#hasTaken = false
      // A slice that the end of a turn has cut goes on where it was, or who is slow would begin a new one each time.
      if (!this.#called || this.#taken >= SLICE_ITEMS) this.#taken = 0
      // Who could always go on, and was let go on by a reader, joins those who wait for the same.
      if (!this.#hasWaited && !this.#called && this.#scheduler.crowded) return false
    }
    if (this.#free === 0 && this.#taken < SLICE_ITEMS) {
      this.#free = this.#scheduler.take(Math.min(this.#stride, SLICE_ITEMS - this.#taken))
      // The items taken before have used the turn up, or have not.
      if (this.#hasTaken && this.#free > 0) this.#stride = Math.min(MOST_STRIDE, this.#stride * 2)
      else if (this.#hasTaken) this.#stride = Math.ceil(this.#stride / 2)
      this.#hasTaken = true
      this.#taken += this.#free
    }
    return this.#free > 0 && this.#free-- > 0
  }

  /** Goes on in a later turn: soon, if its slice is not finished or it is one that waits for others. */
  later(): void {
    if (this.#queued) return
    this.#queued = true
    const isUnfinished = this.#taken > 0 && this.#taken < SLICE_ITEMS
    this.#scheduler.later(this.#resume, this.#hasWaited || isUnfinished)
  }

  /** Asks for the next step, unless one is asked for already. */
  next(): void {
    if (this.#pending || this.#queued || this.#finished) return
    // One that waits for others, such as a model, will mostly wait again: to ask it is no work of this turn.
    if (!this.#waited && !this.allows()) return this.later()
    this.#pending = true
    this.#askedIn = this.#scheduler.number
    try {
      this.#iterator?.next().then(this.#step, this.#failed)
    } catch (error) {
      this.#failed(error)
    }
  }

  /**
   * Asks the actor to clean up; `closed` is called when it has, with what it threw. An async generator answers only when what it awaits has
   * come: that is no part of a stop.
   */
  close(closed: (error?: unknown) => void): void {
    const done = (error?: unknown): void => {
      this.#finished = true
      closed(error)
    }
    if (this.#finished) return closed()
    if (!this.#iterator?.return) return closed()
    try {
      this.#iterator.return().then(() => done(), done)
    } catch (error) {
      done(error)
    }
  }

  /** What it says now was waited for. */
  get #hasWaited(): boolean {
    return this.#waited || (this.#pending && this.#askedIn !== this.#scheduler.number)
  }

  readonly #resume = (): void => {
    this.#queued = false
    this.#called = true
    try {
      this.#callbacks.resumed()
    } catch (error) {
      this.#failed(error)
    }
    this.#called = false
  }

  readonly #step = (step: IteratorResult<ActorOutput, unknown>): void => {
    try {
      if (typeof step !== 'object' || step === null)
        throw new TypeError('the iterator of the actor gave something that is no result of an iterator')
      const { done } = step
      this.#pending = false
      this.#waited = this.#askedIn !== this.#scheduler.number
      if (!done) return this.#callbacks.item(step.value)
      this.#finished = true
      this.#callbacks.done(step.value)
    } catch (error) {
      this.#failed(error)
    }
  }

  /** An entry of its own: nothing may escape from here. */
  readonly #failed = (error: unknown): void => {
    this.#pending = false
    this.#finished = true
    this.#callbacks.failed(error)
  }
}

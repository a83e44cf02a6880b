import { AsyncResource } from 'node:async_hooks'
import type { RunEvent } from '../../protocol/events.ts'
import type { RecordedItem } from '../log/recorded.ts'
import type { Scheduler } from './scheduler.ts'

/** Items that one run may produce in one loop turn. One frame holds them, and each item is cheaper the more there are. */
const SLICE_ITEMS = 64
/** What the asynchronous context of an actor is called among others of the process. */
const CONTEXT = 'millrace.actor'
/** The most items between two looks at the clock. */
const MOST_STRIDE = 16

export type ActorOutput = string | RunEvent | RecordedItem

/** What a puller reports. */
export type PullerCallbacks = {
  item(said: ActorOutput): void
  /** The actor is finished, with a result. */
  done(result: unknown): void
  failed(error: unknown): void
  /** The slot of the next slice has come. */
  resumed(): void
}

/**
 * Asks the iterator of an actor for one step after the other, one slice in each loop turn. It pulls with callbacks: a
 * race, or a promise of its own for each item, costs ten times as much.
 */
export class Puller {
  // Fields that every item touches stand together, as in a producer.
  readonly #callbacks: PullerCallbacks
  #pending = false
  #waited = true
  /** The loop turn in which the pending step was asked for. */
  #askedIn = -1
  readonly #scheduler: Scheduler
  #queued = false
  #finished = false
  #iterator: AsyncIterator<ActorOutput, unknown> | undefined
  readonly #step = (step: IteratorResult<ActorOutput, unknown>): void => this.#took(step)
  /** An entry of its own: nothing may escape from here. */
  readonly #failed = (error: unknown): void => this.#fail(error)
  /**
   * Where the actor goes on while it is not asked for a step: the asynchronous context of its last one. Whoever lets it go
   * on, such as a reader that gives credit or a run whose slice is over, has one of its own.
   */
  #context: AsyncResource | undefined
  /** The iterator has a `return`. Without one, nothing more is to be waited for once it is stopped. */
  #cleansUp = false
  /** The loop turn of the present slice, the items taken of the slice, and how many of them may come without asking. */
  #turn = -1
  #taken = 0
  #free = 0
  /** Items between two looks at the clock: few for an actor that works long for each item. */
  #stride = 1
  /** Items were taken in this loop turn. */
  #hasTaken = false
  /** The scheduler is calling it. */
  #called = false

  constructor(scheduler: Scheduler, callbacks: PullerCallbacks) {
    this.#scheduler = scheduler
    this.#callbacks = callbacks
  }

  /** Makes the iterator to pull, in a context of its own. Without one the actor never began. */
  begin(start: () => AsyncIterator<ActorOutput, unknown>): void {
    this.#context = new AsyncResource(CONTEXT)
    const iterator = this.#context.runInAsyncScope(start)
    this.#iterator = iterator
    this.#cleansUp = hasReturn(iterator)
  }

  get begun(): boolean {
    return this.#iterator !== undefined
  }

  /** The iterator yields no more. An iterator without `return` has finished with its last step. */
  get finished(): boolean {
    return this.#finished || (!this.#pending && !this.#cleansUp)
  }

  /** Whether one more item may be produced in this loop turn. */
  allows(): boolean {
    const { number } = this.#scheduler
    if (number !== this.#turn) {
      this.#turn = number
      this.#free = 0
      this.#hasTaken = false
      // A slice that the end of a turn cut short goes on where it was. A slow actor would otherwise begin a new one each time.
      if (!this.#called || this.#taken >= SLICE_ITEMS) this.#taken = 0
      // A run that never waits, and that a reader let go on, queues behind the other runs like it.
      if (!this.#hasWaited && !this.#called && this.#scheduler.crowded) return false
    }
    if (this.#free === 0 && this.#taken < SLICE_ITEMS) {
      this.#free = this.#scheduler.take(Math.min(this.#stride, SLICE_ITEMS - this.#taken))
      // The items taken before have used up the loop turn, or have not.
      if (this.#hasTaken && this.#free > 0) this.#stride = Math.min(MOST_STRIDE, this.#stride * 2)
      else if (this.#hasTaken) this.#stride = Math.ceil(this.#stride / 2)
      this.#hasTaken = true
      this.#taken += this.#free
    }
    return this.#free > 0 && this.#free-- > 0
  }

  /** Goes on in a later loop turn: soon if its slice is unfinished, or if it waits for something outside. */
  later(): void {
    if (this.#queued) return
    this.#queued = true
    const isUnfinished = this.#taken > 0 && this.#taken < SLICE_ITEMS
    this.#scheduler.later(this.#resume, this.#hasWaited || isUnfinished)
  }

  /** Asks for the next step, unless one is pending. */
  next(): void {
    if (this.#pending || this.#queued || this.#finished) return
    // An actor that waits for something outside, such as a model, will probably wait again. Asking it costs this turn nothing.
    if (!this.#waited && !this.allows()) return this.later()
    this.#pending = true
    this.#askedIn = this.#scheduler.number
    this.#inContext(this.#ask)
  }

  readonly #ask = (): void => {
    try {
      this.#iterator?.next().then(this.#step, this.#failed)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Calls a function of the actor: in its own context, unless that is the present one. */
  #inContext(call: () => void): void {
    const context = this.#context
    this.#context = undefined
    if (context) context.runInAsyncScope(call)
    else call()
  }

  /**
   * Asks the actor to clean up. `closed` is called when it has, with what it threw. An async generator answers only once
   * what it awaits has come, so this is not part of a stop.
   */
  close(closed: (error?: unknown) => void): void {
    const done = (error?: unknown): void => {
      this.#finished = true
      closed(error)
    }
    if (this.#finished || !this.#cleansUp) return closed()
    this.#inContext(() => {
      try {
        this.#iterator?.return?.().then(() => done(), done)
      } catch (error) {
        done(error)
      }
    })
  }

  /** It pulls no more: the iterator, and what its actor worked with, can be collected. */
  release(): void {
    this.#finished = true
    this.#iterator = this.#context = undefined
  }

  /** The actor waited for something outside before its present item. */
  get #hasWaited(): boolean {
    return this.#waited || (this.#pending && this.#askedIn !== this.#scheduler.number)
  }

  readonly #resume = (): void => {
    this.#queued = false
    this.#called = true
    try {
      this.#callbacks.resumed()
    } catch (error) {
      this.#fail(error)
    }
    this.#called = false
  }

  #took(step: IteratorResult<ActorOutput, unknown>): void {
    try {
      if (typeof step !== 'object' || step === null)
        throw new TypeError('the iterator of the actor gave something that is no result of an iterator')
      const { done } = step
      this.#pending = false
      this.#waited = this.#askedIn !== this.#scheduler.number
      if (!done) {
        this.#callbacks.item(step.value)
        if (!this.#pending && !this.#finished) this.#context = new AsyncResource(CONTEXT)
        return
      }
      this.#finished = true
      this.#callbacks.done(step.value)
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    this.#pending = false
    this.#finished = true
    this.#callbacks.failed(error)
  }
}

/** Whether an iterator can be asked to clean up. An actor may give any object, also one whose getters throw. */
function hasReturn(iterator: AsyncIterator<ActorOutput, unknown>): boolean {
  try {
    return typeof iterator.return === 'function'
  } catch {
    return false
  }
}

import { MillraceError } from '../../protocol/errors.ts'
import type { RunEvent } from '../../protocol/events.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Log } from '../log/log.ts'
import { LogWriter, type Written } from '../log/log-writer.ts'
import type { Reader, Readers } from '../log/readers.ts'
import { RecordedItem } from '../log/recorded.ts'
import type { Journal } from './journal.ts'
import { type ActorOutput, Puller, type PullerCallbacks } from './puller.ts'
import type { Scheduler } from './scheduler.ts'

/** The most events of `emit` that may wait for the gate. */
const MAX_WAITING_EVENTS = 1_000

/** What a producer reports to its run. */
export type ProducerCallbacks = {
  /** Why nothing more is logged, once that is so. */
  stopReason(): MillraceError
  /** An event was logged as item `seq`. Returns whether it is a text of the run itself, not of a child. */
  logged(event: RunEvent, seq: number): boolean
  /** An item of another log was logged as item `seq`. Returns whether it is a text of the run itself, not of a child. */
  replayed(event: RunEvent, seq: number): boolean
  /** An item was logged, after a call of `tellNext`. */
  said(): void
  /** An event of `emit` waits for the gate. Returns a function to call once it no longer waits, if one is needed. */
  waits(event: ActorOutput): (() => void) | undefined
  /** No event of `emit` waits any more: all of them are logged. */
  holdsNone(): void
  /** The gate was closed or opened. */
  gateMoved(): void
  /** The actor has finished, and events of `emit` still wait. `finished` or `failed` follows once they are logged. */
  finishing(): void
  /** The actor has finished with a result. */
  finished(result: unknown): void
  /** The actor failed, or produced something that cannot be logged. */
  failed(error: unknown): void
  /** The actor has taken a step after the producer was closed. `error`: what it threw, if anything. */
  steppedAfterClose(error?: unknown): void
}

/** An event of `emit` that waits for the gate. */
type Waiting = {
  event: ActorOutput
  done: (seq: number) => void
  fail: (reason: unknown) => void
  over?: (() => void) | undefined
}

/** Pulls the iterator of an actor while its readers allow it, and logs the items. */
export class Producer implements PullerCallbacks {
  // Fields that every item touches stand together. Items of many runs alternate, and each finds the memory of its run cold.
  readonly #log: Log
  readonly #readers: Readers
  readonly #puller: Puller
  readonly #scheduler: Scheduler
  /** The actor has produced nothing but plain text, for which no writer is needed. */
  #isPlain = true
  #isClosed = false
  #isGated = false
  #tellsNext = false
  /** The readers allow texts up to this item without being asked again. */
  #freeUntil = 0
  #texts = 0
  #waiting: Waiting[] | undefined
  /** Reports how the actor has finished. Events of `emit` that wait are logged first. */
  #finish: (() => void) | undefined
  /** Stores what is logged, if anything does. */
  #journal: Journal | undefined
  readonly #writer: LogWriter
  readonly #callbacks: ProducerCallbacks

  constructor(callbacks: ProducerCallbacks, log: Log, readers: Readers, scheduler: Scheduler, limits: Limits) {
    this.#callbacks = callbacks
    this.#log = log
    this.#readers = readers
    this.#scheduler = scheduler
    this.#writer = new LogWriter(log, scheduler, limits)
    this.#puller = new Puller(scheduler, this)
  }

  /** The gate is closed: the actor waits for its readers. */
  get gated(): boolean {
    return this.#isGated
  }

  /** The actor has finished, and its last events wait. */
  get finishing(): boolean {
    return this.#finish !== undefined && !this.#isClosed
  }

  /** The number of texts logged, without those of children. */
  get texts(): number {
    return this.#texts
  }

  /** The iterator yields no more. */
  get finished(): boolean {
    return this.#puller.finished
  }

  /** Events of `emit` wait for the gate. */
  get holdsEvents(): boolean {
    return this.#waiting !== undefined
  }

  /** The number of the next lane. */
  get nextLane(): number {
    return this.#writer.nextLane
  }

  /** Goes on in another process, with what was counted before. */
  restore(texts: number, nextLane: number, agents: Parameters<LogWriter['restore']>[1]): void {
    this.#texts = texts
    this.#isPlain = false
    this.#writer.restore(nextLane, agents)
  }

  /** What is logged from now on is stored by `journal`. */
  storedBy(journal: Journal): void {
    this.#journal = journal
  }

  /** Starts the actor, and to pull. */
  begin(start: () => AsyncIterator<ActorOutput, unknown>): void {
    this.#puller.begin(start)
    this.#go()
  }

  /** Whether an event can be logged. */
  accepts(event: Parameters<LogWriter['accepts']>[0]): boolean {
    return this.#writer.accepts(event)
  }

  /** The run is notified of the next item. */
  tellNext(): void {
    this.#tellsNext = true
  }

  /** Logs one item at once, whatever the state of the gate. Returns false when it cannot be logged; the run then fails. */
  say(said: ActorOutput): boolean {
    try {
      const { ready } = this.#readers
      const written = this.#write(said)
      if (this.#log.full) this.#log.trim(this.#readers.keepFrom())
      if (this.#journal !== undefined && written !== 'nothing') this.#journal.dirty(written === 'event')
      if (written === 'text') this.#readers.wakeResting(ready)
      else if (written === 'event') {
        // An event may cost more than text.
        this.#freeUntil = 0
        this.#readers.wakeAll()
      }
      if (typeof said === 'string' || this.#logged(said)) this.#texts++
      if (this.#tellsNext) {
        this.#tellsNext = false
        this.#callbacks.said()
      }
      return true
    } catch (error) {
      this.#callbacks.failed(error)
      return false
    }
  }

  #logged(said: RunEvent | RecordedItem): boolean {
    const seq = this.#log.written
    if (!(said instanceof RecordedItem)) return this.#callbacks.logged(said, seq)
    return said.event !== undefined && this.#callbacks.replayed(said.event, seq)
  }

  #write(said: ActorOutput): Written {
    if (typeof said === 'string' && this.#isPlain)
      return this.#log.appendText(0, said, this.#scheduler.wallClock) > 0 ? 'text' : 'nothing'
    this.#isPlain = false
    return this.#writer.write(said)
  }

  /**
   * Logs an event once the gate is open. Resolves with the number of the last item it became, and rejects when the
   * producer is closed before that. The rejection need not be caught.
   * @param isEndOfChild whether it is the end of a child, which is taken while the last events of a finished actor wait.
   */
  emit(event: ActorOutput, isEndOfChild = false): Promise<number> {
    const emitted = new Promise<number>((done, fail) => {
      // What the actor left behind could go on for ever. The end waits only for what was emitted before.
      if (this.#finish && !isEndOfChild) return fail(this.#callbacks.stopReason())
      const held = !this.#mayGoOn()
      // An actor that emits in a loop runs in microtasks, as one that yields does: it needs a slice as well.
      if (this.#waiting !== undefined || held || !this.#puller.allows()) return this.#wait({ event, done, fail }, held)
      if (this.say(event)) done(this.#log.written)
      else fail(unsaid())
    })
    emitted.catch(() => {})
    return emitted
  }

  /** Goes on if it can: the gate may have opened, because `moved` has joined, moved or left. */
  reconsider(moved?: Reader): void {
    this.#freeUntil = 0
    if (!this.#isGated || (moved && this.#readers.holds(moved))) return
    if (this.#mayGoOn()) this.#go()
  }

  /** Nothing more is logged: events that wait for the gate fail. */
  quiet(): void {
    this.#isClosed = true
    this.#isGated = false
    const waiting = this.#waiting
    this.#waiting = undefined
    for (const { over, fail } of waiting ?? []) {
      over?.()
      fail(this.#callbacks.stopReason())
    }
  }

  /** Asks the actor to clean up. `steppedAfterClose` reports when it has. */
  close(): void {
    this.#puller.close((error) => this.#callbacks.steppedAfterClose(error))
  }

  /** The actor has finished, and is forgotten. */
  release(): void {
    this.#puller.release()
  }

  // --- what the puller calls

  item(said: ActorOutput): void {
    if (this.#isClosed) return this.#callbacks.steppedAfterClose()
    // Events of `emit` that came before it and wait go first.
    if (this.#waiting !== undefined) this.#queue(this.#waiting, { event: said, done: () => {}, fail: () => {} })
    else if (!this.say(said)) return
    this.#go()
  }

  done(result: unknown): void {
    if (this.#isClosed) this.#callbacks.steppedAfterClose()
    else this.#finishWith(() => this.#callbacks.finished(result))
  }

  failed(error: unknown): void {
    if (this.#isClosed) this.#callbacks.steppedAfterClose(error)
    else this.#finishWith(() => this.#callbacks.failed(error))
  }

  /** The actor has finished. Its end comes behind the events of `emit` that wait. */
  #finishWith(finish: () => void): void {
    if (this.#waiting === undefined) return finish()
    this.#finish = finish
    this.#callbacks.finishing()
    this.#go()
  }

  resumed(): void {
    this.#go()
  }

  // --- the gate

  /** Whether no reader holds the actor back. The readers are asked again after a change, or after as many items as they allowed. */
  #mayGoOn(): boolean {
    if (this.#log.next < this.#freeUntil) return true
    const room = this.#readers.room()
    this.#freeUntil = this.#log.next + room
    return room > 0
  }

  #go(): void {
    if (this.#isClosed || !this.#puller.begun) return
    while (this.#waiting !== undefined) {
      if (!this.#mayGoOn()) return this.#moveGate(true)
      this.#moveGate(false)
      if (!this.#puller.allows()) return this.#puller.later()
      if (!this.#sayFirst(this.#waiting)) return
      if (this.#waiting === undefined) this.#callbacks.holdsNone()
    }
    if (this.#finish) return this.#finish()
    if (!this.#mayGoOn()) return this.#moveGate(true)
    this.#moveGate(false)
    this.#puller.next()
  }

  #sayFirst(waiting: Waiting[]): boolean {
    const first = waiting.shift()
    if (waiting.length === 0) this.#waiting = undefined
    if (!first) return true
    first.over?.()
    const isSaid = this.say(first.event)
    if (isSaid) first.done(this.#log.written)
    else first.fail(unsaid())
    return isSaid
  }

  #wait(waiting: Waiting, held: boolean): void {
    this.#waiting ??= []
    this.#queue(this.#waiting, waiting)
    if (this.#waiting.length > MAX_WAITING_EVENTS)
      this.#callbacks.failed(
        new MillraceError('bad_event', `more than ${MAX_WAITING_EVENTS} events wait to be said: await emit()`),
      )
    else if (held) this.#moveGate(true)
    else this.#puller.later()
  }

  #queue(all: Waiting[], waiting: Waiting): void {
    waiting.over = this.#callbacks.waits(waiting.event)
    all.push(waiting)
  }

  #moveGate(isClosed: boolean): void {
    if (this.#isGated === isClosed) return
    this.#isGated = isClosed
    this.#callbacks.gateMoved()
    if (isClosed) this.#readers.wakeHolding()
  }
}

function unsaid(): MillraceError {
  return new MillraceError('bad_event', 'the event could not be logged; the run has ended')
}

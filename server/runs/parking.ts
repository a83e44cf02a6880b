import type { Runtime } from '../../protocol/runtime.ts'
import type { Journal } from './journal.ts'
import { type ParkedRun, packParked, type WaitingCall } from './parked-run.ts'

/** What an actor gives to go on from. Undefined: it cannot, now. */
export type Checkpoint = (waiting: readonly string[]) => unknown

/** What parking takes from its run. */
export type ParkingCallbacks = {
  readonly runtime: Pick<Runtime, 'nextTurn'>
  /** Absent where nothing is stored. */
  readonly journal: Journal | undefined
  /** It has begun or stopped to wait. */
  waitingChanged(): void
  /** The tool calls that wait; undefined while anything of the run is under way that would have to be repeated. */
  waitingCalls(): readonly WaitingCall[] | undefined
  /** All that the run needs to go on, with what its actor gave. */
  state(actor: unknown, calls: readonly WaitingCall[]): ParkedRun
}

/**
 * Parks a run while it only waits for people: the store then has all from which another process can wait for the same.
 * Before anything of the run goes on, the store knows that it does. A step is thus never taken twice.
 */
export class Parking {
  readonly #run: ParkingCallbacks
  #checkpoint: Checkpoint | undefined
  #waits = 0
  #isDue = false
  #isClosed = false

  constructor(run: ParkingCallbacks) {
    this.#run = run
  }

  /** From now on, the actor can go on from what this gives. */
  checkpoint(checkpoint: Checkpoint): void {
    this.#checkpoint = checkpoint
    this.review()
  }

  /** Waits for what a client gives. The run may be parked meanwhile. */
  wait<T>(what: Promise<T>): Promise<T> {
    this.#count(1)
    const over = (): void => this.#count(-1)
    what.then(over, over)
    const { journal } = this.#run
    if (!journal) return what
    const waited = this.#goOnAfter(journal, what)
    // An actor may stop waiting for it before it rejects.
    waited.catch(() => {})
    return waited
  }

  /** It waits for people. */
  get isWaiting(): boolean {
    return this.#waits > 0
  }

  async #goOnAfter<T>(journal: Journal, what: Promise<T>): Promise<T> {
    try {
      return await what
    } finally {
      await journal.goOn()
      this.review()
    }
  }

  #count(more: 1 | -1): void {
    this.#waits += more
    if (this.#waits === Number(more > 0)) this.#run.waitingChanged()
    this.review()
  }

  /** Something has begun to wait, or has finished: perhaps all that is left waits. */
  review(): void {
    if (this.#isDue || this.#waits === 0 || !this.#checkpoint) return
    this.#isDue = true
    // What this loop turn still brings comes first.
    this.#run.runtime.nextTurn(() => {
      this.#isDue = false
      this.#park()
    })
  }

  /** The run is over. */
  close(): void {
    this.#isClosed = true
    this.#checkpoint = undefined
  }

  #park(): void {
    const { journal } = this.#run
    if (this.#isClosed || !journal || this.#waits === 0) return
    const waiting = this.#run.waitingCalls()
    const actor = waiting && this.#checkpoint?.(waiting.map(({ id }) => id))
    const packed = actor === undefined ? undefined : packParked(this.#run.state(actor, waiting ?? []))
    if (packed) void journal.park(packed)
  }
}

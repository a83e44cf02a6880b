import type { Runtime } from '../../protocol/runtime.ts'
import type { Journal } from './journal.ts'
import { type ParkedRun, packParked } from './parked-run.ts'

/** What an actor gives to go on from. Undefined: it cannot, now. */
export type Checkpoint = (waiting: readonly string[]) => unknown

/** What of a run only waits: its tool calls, and the runs that it began. */
export type WaitingWork = Pick<ParkedRun, 'calls' | 'children' | 'agents' | 'passed'>

/** What parking takes from its run. */
export type ParkingCallbacks = {
  readonly runtime: Pick<Runtime, 'nextTurn'>
  /** That of the whole tree of runs. Undefined where nothing is stored. */
  journal(): Journal | undefined
  /** The store learns that the tree goes on. Undefined: it knows. Resolves with false if it goes on in another process. */
  goOn(): Promise<boolean> | undefined
  /** Of the run that began this one, until that is over. */
  above(): Parking | undefined
  /** It has begun or stopped to wait. */
  waitingChanged(): void
  /** What of it waits; undefined while anything of the run is under way that would have to be repeated. */
  waitingWork(): WaitingWork | undefined
  /** All that the run needs to go on, with what its actor gave. */
  state(actor: unknown, work: WaitingWork): ParkedRun
  /** Reports an error of the actor. */
  failed(error: unknown): void
}

/**
 * Parks a run while it only waits for people: the store then has all from which another process can wait for the same. A
 * run is parked with the runs that it began, as a whole. Before anything of them goes on, the store knows that it does. A
 * step is thus never taken twice.
 */
export class Parking {
  readonly #run: ParkingCallbacks
  #checkpoint: Checkpoint | undefined
  /** What it waits for itself, and what it and the runs below it wait for. */
  #waits = 0
  #waitsInTree = 0
  /** Waits that are over, of which the store does not know yet. Its actor has not gone on. */
  #goingOn = 0
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
    if (!this.#run.journal() && !this.#run.goOn()) return what
    const waited = this.#goOnAfter(what)
    // An actor may stop waiting for it before it rejects.
    waited.catch(() => {})
    return waited
  }

  /** It waits for people. */
  get isWaiting(): boolean {
    return this.#waits > 0
  }

  async #goOnAfter<T>(what: Promise<T>): Promise<T> {
    const isStopped = await what.then(
      () => false,
      () => true,
    )
    this.#goingOn++
    const isHere = await this.#run.goOn()
    this.#goingOn--
    // Another process takes the step that follows. One that is stopped cleans up, wherever the run goes on.
    if (isHere === false && !isStopped) await new Promise<never>(() => {})
    this.review()
    return what
  }

  #count(more: 1 | -1): void {
    this.#waits += more
    this.#countInTree(more)
    if (this.#waits === Number(more > 0)) this.#run.waitingChanged()
    this.review()
  }

  #countInTree(more: 1 | -1): void {
    this.#waitsInTree += more
    const above = this.#run.above()
    if (above) above.#countInTree(more)
  }

  /** Something has begun to wait, or has finished: perhaps all that is left waits. */
  review(): void {
    const above = this.#run.above()
    if (above) return above.review()
    if (this.#isDue || this.#waitsInTree === 0 || !this.#checkpoint) return
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

  /** All from which another process can go on with it and the runs below it. Undefined: they do not only wait. */
  get packed(): Uint8Array | undefined {
    const state = this.#state
    if (!state) return undefined
    try {
      return packParked(state)
    } catch (error) {
      this.#checkpoint = undefined
      const why =
        'a checkpoint of this actor cannot be stored, so that a restart ends the run: it must return plain data'
      this.#run.failed(new TypeError(why, { cause: error }))
      return undefined
    }
  }

  get #state(): ParkedRun | undefined {
    if (this.#isClosed || this.#goingOn > 0 || !this.#checkpoint) return undefined
    const work = this.#run.waitingWork()
    if (!work || (this.#waits === 0 && work.children.length === 0)) return undefined
    const actor = this.#stateOfActor(
      this.#checkpoint,
      work.calls.map(({ id }) => id),
    )
    return actor === undefined ? undefined : this.#run.state(actor, work)
  }

  #stateOfActor(checkpoint: Checkpoint, calls: readonly string[]): unknown {
    try {
      return checkpoint(calls)
    } catch (error) {
      this.#checkpoint = undefined
      this.#run.failed(error)
      return undefined
    }
  }

  #park(): void {
    const { packed } = this
    if (packed) void this.#run.journal()?.park(packed)
  }
}

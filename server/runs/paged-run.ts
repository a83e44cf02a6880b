import type { WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { CancelCause } from '../../protocol/receipt.ts'
import type { RunInput } from '../actors/actor.ts'
import type { Principal } from '../actors/principal.ts'
import { Log } from '../log/log.ts'
import type { LoggedEnd } from '../log/logged-end.ts'
import type { Reader } from '../log/readers.ts'
import type { RunStore } from '../stores/run-store.ts'
import type { InputAnswer, InputSender } from './input-answer.ts'
import { LogPages, PAGE_BYTES } from './log-pages.ts'
import type { ReadableRun } from './readable-run.ts'

/**
 * A run of this process for one reader that begins before the items in memory. They come from the store, page by page,
 * and then from the log of the run. The reader must not be one that the run waits for.
 */
export class PagedRun implements ReadableRun {
  readonly #run: ReadableRun
  readonly #pages: LogPages
  /** What the run knows of the reader. */
  #shown: Reader | undefined

  /** @param from the first item that the reader gets. The store has it, or the run. */
  constructor(run: ReadableRun, store: RunStore, from: number, limits: Limits, failed: (error: unknown) => void) {
    this.#run = run
    // Nothing is kept behind the reader.
    const log = Log.behind({ ...limits, retainEvents: 0, retainBytes: 0 }, from, run.log.lives)
    this.#pages = new LogPages(store, run.id, log, failed)
  }

  /** Adds the first items: what is open where the reader begins is known then. */
  async open(): Promise<this> {
    if (this.log.next < this.#run.log.first) await this.#pages.load()
    else this.#copy()
    return this
  }

  get id(): string {
    return this.#run.id
  }

  get actorName(): string {
    return this.#run.actorName
  }

  get principal(): Principal {
    return this.#run.principal
  }

  get meta(): WireMap | undefined {
    return this.#run.meta
  }

  get log(): Log {
    return this.#pages.log
  }

  get end(): LoggedEnd | undefined {
    const { end } = this.#run
    return end && this.log.next >= end.seq ? end : undefined
  }

  join(reader: Reader): void {
    this.#pages.reader = reader
    this.#shown = shownAs(reader)
    this.#run.join(this.#shown)
  }

  rest(reader: Reader): void {
    reader.resting = true
    const { first, last } = this.#run.log
    if (this.log.next < first) this.#pages.loadMore()
    else if (this.log.next <= last) {
      this.#copy()
      this.#pages.wake()
    } else if (this.#shown) this.#run.rest(this.#shown)
  }

  leave(reader: Reader): void {
    if (this.#pages.reader !== reader || !this.#shown) return
    this.#pages.reader = undefined
    this.#run.leave(this.#shown)
  }

  reconsider(): void {
    if (this.#shown) this.#run.reconsider(this.#shown)
  }

  pendingAt(seq: number): WireMap[] {
    return this.#run.pendingAt(seq)
  }

  cancel(why: CancelCause): void {
    this.#run.cancel(why)
  }

  cancelCall(call: string, why: CancelCause): boolean | Promise<boolean> {
    return this.#run.cancelCall(call, why)
  }

  cancelAgent(agent: string, why: CancelCause): boolean | Promise<boolean> {
    return this.#run.cancelAgent(agent, why)
  }

  input(mid: string, input: RunInput, bytes: number, from?: InputSender): InputAnswer | Promise<InputAnswer> {
    return this.#run.input(mid, input, bytes, from)
  }

  /** Adds the next items that the run has in memory. */
  #copy(): void {
    const { log } = this.#run
    this.#pages.trim()
    if (this.log.next <= log.last) this.log.add(log.batch(this.log.next, log.last, PAGE_BYTES))
  }
}

/** A reader as its run knows it. Whether it has every item is another question there. */
function shownAs(reader: Reader): Reader {
  const shown: Reader = {
    policy: reader.policy,
    own: reader.own,
    ...(reader.answers !== undefined && { answers: reader.answers }),
    client: reader.client,
    cursor: reader.cursor,
    get paused() {
      return reader.paused
    },
    get perSec() {
      return reader.perSec
    },
    resting: false,
    allowance: () => reader.allowance(),
    wake(urgent) {
      reader.resting = false
      reader.wake(urgent)
    },
    dismiss: (code, message) => reader.dismiss(code, message),
    ...(reader.drop && { drop: (hasMoved: boolean) => reader.drop?.(hasMoved) }),
  }
  return shown
}

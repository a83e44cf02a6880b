import type { Limits } from '../../protocol/limits.ts'
import { Cursor } from '../log/cursor.ts'
import type { Reader } from '../log/readers.ts'
import type { Ask, Holder, SharedLease } from '../stores/run-store.ts'
import {
  type AttendingReader,
  type PendingRequest,
  packAnswer,
  type RunAnswer,
  type RunAsk,
  unpackAsk,
  unpackReaders,
} from './ask.ts'
import type { ReadableRun } from './readable-run.ts'

/** What a holding does to its run. */
export type HeldRun = Pick<
  ReadableRun,
  'log' | 'join' | 'leave' | 'cancel' | 'cancelCall' | 'cancelAgent' | 'input'
> & { readonly pending: readonly PendingRequest[]; reconsider(moved?: Reader): void }

/** What a holding reports. */
export type HoldingCallbacks = {
  /** Somebody else has the run. */
  lost(): void
  /** It has readers in other processes. */
  attended(): void
}

/**
 * What the holder of a run does for the other processes that share its store: it answers what they ask, and their readers
 * are readers of the run.
 */
export class Holding implements Holder {
  readonly #run: HeldRun
  readonly #lease: SharedLease
  readonly #limits: Limits
  readonly #callbacks: HoldingCallbacks
  #hasLeft = false
  /** The readers in each process, in the order in which it names them. */
  readonly #readers = new Map<string, readonly RemoteReader[]>()

  constructor(run: HeldRun, lease: SharedLease, limits: Limits, callbacks: HoldingCallbacks) {
    this.#run = run
    this.#lease = lease
    this.#limits = limits
    this.#callbacks = callbacks
  }

  lost(): void {
    this.#callbacks.lost()
  }

  doubted(): void {
    this.#run.reconsider()
  }

  /** Hears nothing more: what is asked from now on is for the next holder. */
  leave(): void {
    this.#hasLeft = true
  }

  asked({ n, packed }: Ask): void {
    if (this.#hasLeft) return
    // Another release may ask what this one does not know. Whoever asked hears when the run ends.
    this.#take(n, packed).catch(() => {})
  }

  async #take(n: number, packed: Uint8Array): Promise<void> {
    const ask = unpackAsk(packed)
    // It stays until the end is stored: should this process die before that, the next holder hears it as well.
    if (ask.type === 'cancel') this.#run.cancel(ask.why)
    else await this.#lease.answer(n, packAnswer(await this.#answer(ask)))
  }

  async #answer(ask: Exclude<RunAsk, { type: 'cancel' }>): Promise<RunAnswer[keyof RunAnswer]> {
    switch (ask.type) {
      case 'call':
        return await this.#run.cancelCall(ask.id, ask.why)
      case 'agent':
        return await this.#run.cancelAgent(ask.id, ask.why)
      case 'input':
        return await this.#run.input(ask.mid, ask.input, ask.bytes, ask.from)
      case 'pending':
        return { next: this.#run.log.written + 1, requests: this.#run.pending }
    }
  }

  attended(attending: ReadonlyMap<string, Uint8Array>): void {
    if (this.#hasLeft) return
    for (const [node, packed] of attending) this.#attend(node, unpackReaders(packed))
    for (const node of [...this.#readers.keys()]) if (!attending.has(node)) this.#attend(node, [])
    if (attending.size > 0) this.#callbacks.attended()
  }

  /** Those that stay are moved. Others come before the rest leave, so that the run is not alone in between. */
  #attend(node: string, attending: readonly AttendingReader[]): void {
    const before = [...(this.#readers.get(node) ?? [])]
    const now = attending.map((told) => {
      const known = before.findIndex((reader) => reader.is(told))
      const reader = known < 0 ? undefined : before.splice(known, 1)[0]
      if (!reader) return new RemoteReader(this.#run, this.#limits, told)
      reader.move(told)
      return reader
    })
    if (now.length > 0) this.#readers.set(node, now)
    else this.#readers.delete(node)
    for (const reader of now) reader.join()
    for (const reader of before) this.#run.leave(reader)
  }
}

/** A reader in another process. Its items come from the store: here it only counts as a reader, and paces. */
class RemoteReader implements Reader {
  readonly policy: Reader['policy']
  readonly own: boolean
  readonly answers: boolean
  readonly client: string | undefined
  readonly paused = false
  resting = false
  readonly #run: HeldRun
  readonly #limits: Limits
  #cursor: Cursor
  #hasJoined = false

  constructor(run: HeldRun, limits: Limits, told: AttendingReader) {
    this.#run = run
    this.#limits = limits
    this.policy = told.pace ? 'pace' : 'log'
    this.own = told.own
    this.answers = told.answers
    this.client = told.client
    this.#cursor = this.#cursorAt(told)
  }

  get cursor(): Cursor {
    return this.#cursor
  }

  is({ own, answers, client, pace }: AttendingReader): boolean {
    const isSame = own === this.own && answers === this.answers && client === this.client
    return isSame && (pace !== undefined) === (this.policy === 'pace')
  }

  /** It tells all of its balance each time, so that nothing is lost with a message. */
  move(told: AttendingReader): void {
    this.#cursor = this.#cursorAt(told)
    this.#run.reconsider(this)
  }

  join(): void {
    if (this.#hasJoined) return
    this.#hasJoined = true
    this.#run.join(this)
  }

  #cursorAt({ pace }: AttendingReader): Cursor {
    const { log } = this.#run
    const { last, gen, balance } = pace ?? { last: log.last, gen: log.gen, balance: 0 }
    return new Cursor(log, { last: Math.min(last, log.written), gen }, balance, this.#limits.maxCredit)
  }

  allowance(): number {
    return Number.POSITIVE_INFINITY
  }

  wake(): void {}

  dismiss(): void {}
}

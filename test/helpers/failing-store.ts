import { MillraceError } from '../../protocol/errors.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type {
  Append,
  AppendRefusal,
  Lease,
  ListPosition,
  NewRun,
  Outbox,
  Page,
  RunStore,
  StoreCaps,
  StoredKey,
  StoredRun,
  StoredRunSummary,
} from '../../server/stores/run-store.ts'

/** How a store misbehaves. All of it may change at any time. */
export type StoreFaults = {
  /** The most that a call waits before it is applied, and its answer once more, in milliseconds. */
  slowMs: number
  /** How likely a call fails and changes nothing. */
  failBefore: number
  /** How likely a call fails although it was applied. */
  failAfter: number
  /** Nothing can be written. */
  isFull: boolean
}

const NONE: StoreFaults = { slowMs: 0, failBefore: 0, failAfter: 0, isFull: false }

/**
 * One process's access to a store, which misbehaves and can die. Time and chance are the runtime's, so that a simulation
 * replays exactly. Calls are applied in their order, however slow each of them is.
 */
export class FailingStore implements RunStore {
  readonly faults: StoreFaults
  readonly #inner: RunStore
  readonly #runtime: Pick<Runtime, 'setTimer' | 'random'>
  #isDead = false
  /** Settles when all calls so far have been applied. */
  #applied: Promise<unknown> = Promise.resolve()
  #lostReplies = 0

  constructor(inner: RunStore, runtime: Pick<Runtime, 'setTimer' | 'random'>, faults: Partial<StoreFaults> = {}) {
    this.#inner = inner
    this.#runtime = runtime
    this.faults = { ...NONE, ...faults }
  }

  get caps(): StoreCaps {
    return this.#inner.caps
  }

  get outbox(): Outbox | undefined {
    const { outbox } = this.#inner
    return (
      outbox && {
        add: (notices) => this.#write(() => outbox.add(notices)),
        take: (most, forMs) => this.#write(() => outbox.take(most, forMs)),
        remove: (id) => this.#write(() => outbox.remove(id)),
        putOff: (id, ms) => this.#write(() => outbox.putOff(id, ms)),
        trim: (most) => this.#write(() => outbox.trim(most)),
      }
    )
  }

  /** The next `calls` calls are applied, and fail. */
  loseReplies(calls: number): void {
    this.#lostReplies = calls
  }

  /** The disk is full for `ms` milliseconds. */
  fillFor(ms: number): void {
    this.faults.isFull = true
    this.#runtime.setTimer(ms, () => (this.faults.isFull = false))
  }

  /**
   * The process dies. What it asked and was not applied never will be, and nothing is answered any more.
   * @returns the access of the next process, which is to be opened.
   */
  kill(): FailingStore {
    this.#isDead = true
    return new FailingStore(this.#inner, this.#runtime, this.faults)
  }

  open(): Promise<void> {
    return this.#call(() => this.#inner.open())
  }

  close(): Promise<void> {
    return this.#call(() => this.#inner.close())
  }

  async begin(id: string, run: NewRun): Promise<Lease | StoredKey> {
    const begun = await this.#write(() => this.#inner.begin(id, run))
    return 'run' in begun ? begun : this.#lease(begun)
  }

  async takeOver(id: string): Promise<{ lease: Lease; run: StoredRun } | 'busy' | 'ended' | 'missing'> {
    const taken = await this.#write(() => this.#inner.takeOver(id))
    return typeof taken === 'string' ? taken : { ...taken, lease: this.#lease(taken.lease) }
  }

  abandoned(most: number): Promise<string[]> {
    return this.#call(() => this.#inner.abandoned(most))
  }

  find(id: string): Promise<StoredRun | undefined> {
    return this.#call(() => this.#inner.find(id))
  }

  findKey(name: string): Promise<StoredKey | undefined> {
    return this.#call(() => this.#inner.findKey(name))
  }

  list(principal: string, before: ListPosition | undefined, most: number): Promise<StoredRunSummary[]> {
    return this.#call(() => this.#inner.list(principal, before, most))
  }

  read(id: string, from: number, maxBytes: number): Promise<Page> {
    return this.#call(() => this.#inner.read(id, from, maxBytes))
  }

  remove(id: string): Promise<void> {
    return this.#write(() => this.#inner.remove(id))
  }

  removeAll(principal: string): Promise<number> {
    return this.#write(() => this.#inner.removeAll(principal))
  }

  #lease(inner: Lease): Lease {
    return {
      gen: inner.gen,
      append: (what: Append): Promise<AppendRefusal | undefined> => this.#write(() => inner.append(what)),
      release: () => this.#write(() => inner.release()),
    }
  }

  #write<T>(apply: () => Promise<T>): Promise<T> {
    return this.#call(() => (this.faults.isFull ? Promise.reject(failure('the disk is full')) : apply()))
  }

  async #call<T>(apply: () => Promise<T>): Promise<T> {
    const { failBefore, failAfter } = this.faults
    const failsBefore = this.#happens(failBefore)
    const failsAfter = this.#happens(failAfter) || this.#lostReplies > 0
    if (this.#lostReplies > 0) this.#lostReplies--
    const [earlier, delay] = [this.#applied, this.#delay()]
    const result = (async (): Promise<T> => {
      await earlier
      await delay
      if (this.#isDead) return never()
      if (failsBefore) throw failure('the call did not reach the store')
      return apply()
    })()
    this.#applied = result.catch(() => {})
    const value = await result
    await this.#delay()
    if (this.#isDead) return never()
    if (failsAfter) throw failure('the answer was lost')
    return value
  }

  #happens(probability: number): boolean {
    return probability > 0 && this.#runtime.random() < probability
  }

  #delay(): Promise<void> {
    const { slowMs } = this.faults
    if (slowMs === 0) return Promise.resolve()
    return new Promise((resolve) => this.#runtime.setTimer(this.#runtime.random() * slowMs, resolve))
  }
}

function failure(message: string): MillraceError {
  return new MillraceError('store_unavailable', message)
}

function never(): Promise<never> {
  return new Promise(() => {})
}

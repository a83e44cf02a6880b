import { MillraceError } from '../../protocol/errors.ts'
import type { WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Principal } from '../actors/principal.ts'
import { Log } from '../log/log.ts'
import type { LoggedEnd } from '../log/logged-end.ts'
import type { Reader } from '../log/readers.ts'
import type { RunStore, StoredRun } from '../stores/run-store.ts'
import { type InputAnswer, OVER } from './input-answer.ts'
import type { ReadableRun } from './readable-run.ts'

/** The bytes that are read from the store at once. */
const PAGE_BYTES = 65_536

/**
 * An ended run of which only the stored log is left, for one reader. Its items come from the store page by page, as the
 * reader gets through them.
 */
export class StoredRunView implements ReadableRun {
  readonly id: string
  readonly actorName: string
  readonly principal: Principal
  readonly meta: WireMap | undefined
  readonly log: Log
  readonly #store: RunStore
  readonly #stored: StoredRun
  readonly #failed: (error: unknown) => void
  #reader: Reader | undefined
  #isLoading = false

  /** @param failed receives the failure of a read. The reader is dismissed. */
  constructor(
    store: RunStore,
    stored: StoredRun,
    { principal, meta }: { readonly principal: Principal; readonly meta: WireMap | undefined },
    after: number | null,
    limits: Limits,
    failed: (error: unknown) => void,
  ) {
    this.#store = store
    this.#stored = stored
    this.#failed = failed
    this.id = stored.id
    this.actorName = stored.facts.actor
    this.principal = principal
    this.meta = meta
    const from = after === null ? stored.next : Math.min(Math.max(after + 1, stored.first), stored.next)
    // Nothing is kept behind the reader: another one has its own view.
    this.log = Log.behind({ ...limits, retainEvents: 0, retainBytes: 0 }, from, stored.lives)
  }

  /** Reads the first page: what is open where the reader begins is known then. */
  async open(): Promise<this> {
    await this.#load()
    return this
  }

  get end(): LoggedEnd | undefined {
    return this.log.next >= this.#stored.next ? this.#stored.end : undefined
  }

  join(reader: Reader): void {
    this.#reader = reader
  }

  rest(reader: Reader): void {
    reader.resting = true
    this.#loadMore()
  }

  leave(reader: Reader): void {
    if (this.#reader === reader) this.#reader = undefined
  }

  reconsider(): void {}

  pendingAt(): WireMap[] {
    return []
  }

  cancel(): void {}

  cancelCall(): boolean {
    return false
  }

  cancelAgent(): boolean {
    return false
  }

  input(): InputAnswer {
    return OVER
  }

  #loadMore(): void {
    if (this.#isLoading || this.end || !this.#reader) return
    this.#isLoading = true
    this.#load().then(
      () => {
        this.#isLoading = false
        this.#wake()
      },
      (error: unknown) => {
        const { code, message } = MillraceError.from(error, 'store_unavailable', 'the log of this run cannot be read')
        this.#failed(error)
        this.#reader?.dismiss(code, message)
      },
    )
  }

  #wake(): void {
    const reader = this.#reader
    if (!reader) return
    reader.resting = false
    reader.wake(true)
  }

  async #load(): Promise<void> {
    const { next } = this.log
    if (next >= this.#stored.next) return
    const { batches } = await this.#store.read(this.id, next, PAGE_BYTES)
    if (batches.length === 0)
      throw new MillraceError('store_unavailable', 'a part of this log was removed while it was read; start again')
    this.log.trim((this.#reader?.cursor.last ?? next - 1) + 1)
    for (const batch of batches) this.log.add(batch)
  }
}

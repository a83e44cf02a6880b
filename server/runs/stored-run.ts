import type { WireMap } from '../../protocol/frames.ts'
import type { Limits } from '../../protocol/limits.ts'
import type { Principal } from '../actors/principal.ts'
import { Log } from '../log/log.ts'
import type { LoggedEnd } from '../log/logged-end.ts'
import type { Reader } from '../log/readers.ts'
import type { RunStore, StoredRun } from '../stores/run-store.ts'
import { type InputAnswer, OVER } from './input-answer.ts'
import { LogPages } from './log-pages.ts'
import type { ReadableRun } from './readable-run.ts'

/**
 * An ended run of which only the stored log is left, for one reader. Its items come from the store page by page, as the
 * reader gets through them.
 */
export class StoredRunView implements ReadableRun {
  readonly id: string
  readonly actorName: string
  readonly principal: Principal
  readonly meta: WireMap | undefined
  readonly #stored: StoredRun
  readonly #pages: LogPages

  /** @param failed receives the failure of a read. The reader is dismissed. */
  constructor(
    store: RunStore,
    stored: StoredRun,
    { principal, meta }: { readonly principal: Principal; readonly meta: WireMap | undefined },
    after: number | null,
    limits: Limits,
    failed: (error: unknown) => void,
  ) {
    this.#stored = stored
    this.id = stored.id
    this.actorName = stored.facts.actor
    this.principal = principal
    this.meta = meta
    const from = after === null ? stored.next : Math.min(Math.max(after + 1, stored.first), stored.next)
    // Nothing is kept behind the reader: another one has its own view.
    const log = Log.behind({ ...limits, retainEvents: 0, retainBytes: 0 }, from, stored.lives)
    this.#pages = new LogPages(store, stored.id, log, failed)
  }

  /** Reads the first page: what is open where the reader begins is known then. */
  async open(): Promise<this> {
    if (!this.#isWhole) await this.#pages.load()
    return this
  }

  get log(): Log {
    return this.#pages.log
  }

  get #isWhole(): boolean {
    return this.log.next >= this.#stored.next
  }

  get end(): LoggedEnd | undefined {
    return this.#isWhole ? this.#stored.end : undefined
  }

  join(reader: Reader): void {
    this.#pages.reader = reader
  }

  rest(reader: Reader): void {
    reader.resting = true
    if (!this.#isWhole) this.#pages.loadMore()
  }

  leave(reader: Reader): void {
    if (this.#pages.reader === reader) this.#pages.reader = undefined
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
}

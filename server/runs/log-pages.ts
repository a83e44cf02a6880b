import { MillraceError } from '../../protocol/errors.ts'
import type { Log } from '../log/log.ts'
import type { Reader } from '../log/readers.ts'
import type { RunStore } from '../stores/run-store.ts'

/** The bytes that are read at once. */
export const PAGE_BYTES = 65_536

/** Fills the log of one reader with what a store has, page by page, as the reader gets through it. */
export class LogPages {
  readonly log: Log
  reader: Reader | undefined
  readonly #store: RunStore
  readonly #run: string
  readonly #failed: (error: unknown) => void
  #isLoading = false

  /**
   * @param log has no item, and begins where the reader does.
   * @param failed receives the failure of a read. The reader is dismissed.
   */
  constructor(store: RunStore, run: string, log: Log, failed: (error: unknown) => void) {
    this.#store = store
    this.#run = run
    this.log = log
    this.#failed = failed
  }

  /** Drops what the reader has read. */
  trim(): void {
    this.log.trim((this.reader?.cursor.last ?? this.log.next - 1) + 1)
  }

  /** Adds the next page. @throws MillraceError `store_unavailable` when there is none. */
  async load(): Promise<void> {
    const { batches } = await this.#store.read(this.#run, this.log.next, PAGE_BYTES)
    if (batches.length === 0)
      throw new MillraceError('store_unavailable', 'a part of this log was removed while it was read; start again')
    this.trim()
    for (const batch of batches) this.log.add(batch)
  }

  /** Adds the next page, and wakes the reader then. */
  loadMore(): void {
    if (this.#isLoading || !this.reader) return
    this.#isLoading = true
    this.load().then(
      () => {
        this.#isLoading = false
        this.wake()
      },
      (error: unknown) => {
        const { code, message } = MillraceError.from(error, 'store_unavailable', 'the log of this run cannot be read')
        this.#failed(error)
        this.reader?.dismiss(code, message)
      },
    )
  }

  /** There is more to read. */
  wake(): void {
    const { reader } = this
    if (!reader) return
    reader.resting = false
    reader.wake(true)
  }
}

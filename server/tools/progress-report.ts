import type { Progress, RunEvent } from '../../protocol/events.ts'
import type { ToolProgress } from '../actors/tool.ts'
import { wellFormed } from '../text.ts'

/** Maximum length of a progress text, in UTF-16 units. */
const MAX_CHARACTERS = 1_000

/**
 * The progress events of one tool call. While one report waits for a slow reader, each newer report replaces the one
 * queued before it. A tool can therefore report as often as it likes.
 */
export class ProgressReport {
  readonly #call: string
  readonly #emit: (event: RunEvent) => Promise<number>
  readonly #failed: (error: unknown) => void
  #sending: Promise<void> | undefined
  #next: ToolProgress | undefined
  #closed = false

  /** @param failed called with the error of a report that cannot be read. */
  constructor(call: string, emit: (event: RunEvent) => Promise<number>, failed: (error: unknown) => void) {
    this.#call = call
    this.#emit = emit
    this.#failed = failed
  }

  /** Sends a report. Resolves when it, or a newer one in its place, is logged. Never rejects. */
  send(progress: ToolProgress): Promise<void> {
    if (this.#closed) return Promise.resolve()
    this.#next = progress
    this.#sending ??= this.#sendAll()
    return this.#sending
  }

  /** Drops the queued report and ignores all later ones: the call is over. */
  close(): void {
    this.#closed = true
    this.#next = undefined
  }

  async #sendAll(): Promise<void> {
    try {
      for (let next = this.#next; next !== undefined; next = this.#next) {
        this.#next = undefined
        const event = this.#eventOf(next)
        // It waits in any case: `#sending` is set only once this function has.
        await (event && this.#emit(event))
      }
    } catch {
      // The run has stopped, so it logs no more progress.
      this.close()
    } finally {
      this.#sending = undefined
    }
  }

  /** The event of a report. A tool may pass anything, also an object whose getters throw. */
  #eventOf(given: ToolProgress): RunEvent | undefined {
    try {
      return eventOf(this.#call, given)
    } catch (error) {
      this.#failed(error)
      return undefined
    }
  }
}

/** Builds the event from the known members only. What has no count is shown as text: a tool without types may pass it. */
function eventOf(call: string, given: ToolProgress): RunEvent {
  if (typeof given !== 'object' || given === null) return { type: 'tool.progress', call, note: textOf(given) }
  const { current, total, message } = given as { readonly [Name in keyof Progress]: unknown }
  if (!isCount(current)) return { type: 'tool.progress', call, note: textOf(JSON.stringify(given)) }
  const progress: Progress = {
    current: Number(current),
    ...(isCount(total) && { total: Number(total) }),
    ...(message !== undefined && { message: textOf(message) }),
  }
  return { type: 'tool.progress', call, progress }
}

function isCount(given: unknown): boolean {
  const isNumeric =
    typeof given === 'number' || typeof given === 'bigint' || (typeof given === 'string' && given !== '')
  return isNumeric && Number.isFinite(Number(given))
}

function textOf(given: unknown): string {
  return wellFormed(String(given).slice(0, MAX_CHARACTERS))
}

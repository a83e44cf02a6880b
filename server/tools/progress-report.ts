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
  #sending: Promise<void> | undefined
  #next: ToolProgress | undefined
  #closed = false

  constructor(call: string, emit: (event: RunEvent) => Promise<number>) {
    this.#call = call
    this.#emit = emit
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
        await this.#emit(eventOf(this.#call, next))
      }
    } catch {
      // The run has stopped, so it logs no more progress.
      this.close()
    } finally {
      this.#sending = undefined
    }
  }
}

/** Builds the event from the known members only: a tool without types may pass anything. */
function eventOf(call: string, given: ToolProgress): RunEvent {
  if (typeof given !== 'object' || given === null) return { type: 'tool.progress', call, note: textOf(given) }
  const { current, total, message } = given as { readonly [Name in keyof Progress]: unknown }
  const progress: Progress = {
    current: Number(current),
    ...(total !== undefined && { total: Number(total) }),
    ...(message !== undefined && { message: textOf(message) }),
  }
  return { type: 'tool.progress', call, progress }
}

function textOf(given: unknown): string {
  return wellFormed(String(given).slice(0, MAX_CHARACTERS))
}

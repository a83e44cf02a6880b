import type { Progress, RunEvent } from '../../protocol/events.ts'
import type { ToolProgress } from '../actors/tool.ts'
import { wellFormed } from '../text.ts'

/** The longest text of a progress. */
const MAX_CHARACTERS = 1_000

/**
 * How far one tool call is, as its reader is told: while one progress waits for a slow reader, a newer one takes the
 * place of the next, so that a tool may say as many as it likes.
 */
export class ProgressReport {
  readonly #call: string
  readonly #emit: (event: RunEvent) => Promise<number>
  #saying: Promise<void> | undefined
  #next: ToolProgress | undefined
  #closed = false

  constructor(call: string, emit: (event: RunEvent) => Promise<number>) {
    this.#call = call
    this.#emit = emit
  }

  /** Resolves when it, or what took its place, is logged. Never rejects. */
  say(progress: ToolProgress): Promise<void> {
    if (this.#closed) return Promise.resolve()
    this.#next = progress
    this.#saying ??= this.#sayAll()
    return this.#saying
  }

  /** The call is over: nothing more is said of it. */
  close(): void {
    this.#closed = true
    this.#next = undefined
  }

  async #sayAll(): Promise<void> {
    try {
      for (let next = this.#next; next !== undefined; next = this.#next) {
        this.#next = undefined
        await this.#emit(eventOf(this.#call, next))
      }
    } catch {
      // The run stops: nobody wants to know any more.
      this.close()
    } finally {
      this.#saying = undefined
    }
  }
}

/** Only what is known of a progress travels: a tool may be written without types. */
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

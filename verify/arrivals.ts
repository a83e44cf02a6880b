import { Mismatch } from './mismatch.ts'

export type ArrivalsOptions = {
  /** How long anything may take to come, in milliseconds. */
  readonly patienceMs: number
  /** Ends every wait with its reason. */
  readonly signal: AbortSignal
  /** Describes what has come in place of what was waited for. */
  readonly describe: () => string
}

/** Waits for what a subject sends: looks again whenever something came, and never longer than its patience. */
export class Arrivals {
  readonly #options: ArrivalsOptions
  readonly #watchers = new Set<() => void>()
  #end: string | Mismatch | undefined

  constructor(options: ArrivalsOptions) {
    this.#options = options
  }

  /** Nothing comes any more, for this reason or with this error. */
  end(why: string | Mismatch): void {
    this.#end ??= why
    this.look()
  }

  /** Something came. */
  look(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }

  /**
   * Resolves with the first thing that `search` finds.
   * @throws Mismatch when it does not come in time, or cannot come any more.
   */
  async find<Found>(search: () => Found | undefined, what: string, patienceMs?: number): Promise<Found> {
    const { signal, describe } = this.#options
    const ms = patienceMs ?? this.#options.patienceMs
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const settle = (how: () => void): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', abort)
        this.#watchers.delete(look)
        how()
      }
      const abort = (): void => settle(() => reject(signal.reason))
      const look = (): void => {
        const found = search()
        const end = this.#end
        if (found !== undefined) settle(() => resolve(found))
        else if (end instanceof Mismatch) settle(() => reject(end))
        else if (end !== undefined) settle(() => reject(new Mismatch(what, `${end}; ${describe()}`)))
      }
      const late = (): void => settle(() => reject(new Mismatch(what, `nothing more for ${ms} ms; ${describe()}`)))
      const timer = setTimeout(late, ms)
      signal.addEventListener('abort', abort)
      this.#watchers.add(look)
      look()
    })
  }
}

/** Resolves after a time. @throws the reason of `signal`. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort)
      resolve()
    }, ms)
    signal.addEventListener('abort', abort, { once: true })
  })
}

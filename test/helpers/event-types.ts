import type { Run } from '../../client-sdk/node.ts'
import { Collector } from './collector.ts'

/** A reader of a run: the types of its events so far. */
export class EventTypes {
  readonly #came = new Collector<string>({ describe: () => this.types.join(' ') })
  /** Resolves when the run has ended, and rejects with its error. */
  readonly over: Promise<void>

  constructor(run: Run) {
    this.over = this.#read(run)
    this.over.catch((error: unknown) => this.#came.end(error as Error))
  }

  get types(): readonly string[] {
    return this.#came.items
  }

  /** Resolves when an event of this type has come. */
  has(type: string): Promise<void> {
    return this.#came.until(() => this.types.includes(type), type)
  }

  async #read(run: Run): Promise<void> {
    for await (const event of run) this.#came.add(event.type)
    this.#came.end('the run ended')
  }
}

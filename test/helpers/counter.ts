import { expect } from 'vitest'
import type { Run, StreamEvent } from '../../client-sdk/node.ts'
import { Collector } from './collector.ts'

/** A reader of a run of `count`: the numbers that it has, without those that became void. */
export class Counter {
  readonly numbers: number[] = []
  /** What `data` events say. */
  readonly data: unknown[] = []
  /** The most that became void at once. */
  lost = 0
  error: unknown
  readonly over: Promise<void>
  /** What it reads. */
  readonly run: Run
  readonly #came = new Collector<never>({ describe: () => `${this.numbers.length} numbers came` })

  constructor(run: Run) {
    this.run = run
    this.over = this.#read(run)
  }

  /** Resolves when it has at least `count` numbers. Rejects when it is over with fewer. */
  has(count: number): Promise<void> {
    return this.#came.until(() => this.numbers.length >= count, `${count} numbers`)
  }

  async #read(run: Run): Promise<void> {
    try {
      for await (const event of run) {
        if (event.type === 'token') this.numbers.push(...event.text.trim().split(' ').map(Number))
        if (event.type === 'data') this.data.push(event.value)
        if (event.type === 'gap') this.#rewound(event)
        this.#came.look()
      }
      this.#came.end('the run ended')
    } catch (error) {
      this.error = error
      this.#came.end(error as Error)
    }
  }

  #rewound({ reason, next }: Extract<StreamEvent, { type: 'gap' }>): void {
    expect(reason).toBe('rewound')
    const kept = next - 1
    this.lost = Math.max(this.lost, this.numbers.length - kept)
    expect(kept).toBeLessThanOrEqual(this.numbers.length)
    this.numbers.length = kept
  }
}

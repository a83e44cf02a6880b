import { expect } from 'vitest'
import type { Run } from '../../client-sdk/node.ts'

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

  constructor(run: Run) {
    this.run = run
    this.over = this.#read(run)
  }

  async #read(run: Run): Promise<void> {
    try {
      for await (const event of run) {
        if (event.type === 'token') this.numbers.push(...event.text.trim().split(' ').map(Number))
        if (event.type === 'data') this.data.push(event.value)
        if (event.type !== 'gap') continue
        expect(event.reason).toBe('rewound')
        const kept = event.next - 1
        this.lost = Math.max(this.lost, this.numbers.length - kept)
        expect(kept).toBeLessThanOrEqual(this.numbers.length)
        this.numbers.length = kept
      }
    } catch (error) {
      this.error = error
    }
  }
}

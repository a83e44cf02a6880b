import type { RunEvent } from '../../protocol/events.ts'
import type { Receipt, Usage } from '../../protocol/receipt.ts'

/** What a run has cost and how far it came, as its end tells. */
export class UsageTally {
  readonly #spent: Usage = { input: 0, output: 0 }
  #used = false
  /** A child could not say all that it cost. */
  #inexact = false
  /** How many texts had been said when a provider last stated its usage. */
  #stated = 0
  #iterations = 0
  /** Why the last model that was asked stopped. */
  #stop: string | undefined

  /** The run said an event, after so many texts. */
  note(event: RunEvent, texts: number): void {
    if (event.type === 'usage') {
      this.#stated = texts
      this.#used = true
      add(this.#spent, event)
    } else if (event.type === 'iteration') this.#iterations = event.n
  }

  /** A child has cost that. */
  childSpent(usage: Usage & { exact?: boolean }): void {
    this.#used = true
    add(this.#spent, usage)
    if (usage.exact === false) this.#inexact = true
  }

  /** A model's answer is complete: why it stopped there. */
  answered(stop: string): void {
    this.#stop = stop
  }

  /** What an END says beside its outcome, where children that go on have cost `also`. */
  summary(also: readonly Usage[]): { usage?: Usage; stop?: string; iterations?: number } {
    return {
      ...this.usage(also),
      ...(this.#stop === undefined ? {} : { stop: this.#stop }),
      ...(this.#iterations === 0 ? {} : { iterations: this.#iterations }),
    }
  }

  /** What was spent so far, `also` by children that go on. */
  usage(also: readonly Usage[]): { usage?: Usage } {
    if (!this.#used && also.length === 0) return {}
    const usage = { ...this.#spent }
    for (const more of also) add(usage, more)
    return { usage }
  }

  /**
   * The usage for a receipt. A provider that was cut off never stated its last: of the `texts` said in all, those since
   * it did are about as many tokens.
   */
  receiptUsage(cutOff: boolean, texts: number, also: readonly Usage[]): Pick<Receipt, 'usage'> {
    const { usage } = this.usage(also)
    if (cutOff) {
      const { output = 0 } = usage ?? {}
      return { usage: { input: 0, ...usage, output: output + texts - this.#stated, exact: false } }
    }
    return usage ? { usage: { ...usage, exact: !this.#inexact } } : {}
  }
}

function add(sum: Usage, usage: Usage): void {
  sum.input += usage.input
  sum.output += usage.output
  for (const part of ['cached', 'thinking', 'cost'] as const) {
    const n = usage[part]
    if (n !== undefined) sum[part] = (sum[part] ?? 0) + n
  }
}

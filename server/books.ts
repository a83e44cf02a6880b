import type { RunEvent } from '../protocol/events.ts'
import type { Receipt, Usage } from '../protocol/receipt.ts'

/** What a run has cost and how far it came, as its end tells. */
export class Books {
  readonly #spent: Usage = { input: 0, output: 0 }
  #used = false
  /** A child could not say all that it cost. */
  #inexact = false
  /** Texts said since a provider last stated its usage: about as many tokens. */
  #unstated = 0
  #iterations = 0
  /** Why the last model that was asked stopped. */
  #stop: string | undefined

  /** The run said something. */
  note(event: string | RunEvent): void {
    if (typeof event === 'string' || 'text' in event) this.#unstated++
    else if (event.type === 'usage') this.#spend(event)
    else if (event.type === 'iteration') this.#iterations = event.n
  }

  /** A child has cost that. */
  childSpent(usage: Usage & { exact?: boolean }): void {
    this.#add(usage)
    if (usage.exact === false) this.#inexact = true
  }

  /** A model's answer is complete: why it stopped there. */
  answered(stop: string): void {
    this.#stop = stop
  }

  /** What an END says beside its outcome. */
  get summary(): { usage?: Usage; stop?: string; iterations?: number } {
    return {
      ...this.usage,
      ...(this.#stop === undefined ? {} : { stop: this.#stop }),
      ...(this.#iterations === 0 ? {} : { iterations: this.#iterations }),
    }
  }

  get usage(): { usage?: Usage } {
    return this.#used ? { usage: this.#spent } : {}
  }

  /** The usage for a receipt; a provider that was cut off never stated its last. */
  receiptUsage(cutOff: boolean): Pick<Receipt, 'usage'> {
    if (cutOff) return { usage: { ...this.#spent, output: this.#spent.output + this.#unstated, exact: false } }
    return this.#used ? { usage: { ...this.#spent, exact: !this.#inexact } } : {}
  }

  #spend(usage: Usage): void {
    this.#unstated = 0
    this.#add(usage)
  }

  #add(usage: Usage): void {
    this.#used = true
    this.#spent.input += usage.input
    this.#spent.output += usage.output
    for (const part of ['cached', 'thinking', 'cost'] as const) {
      const n = usage[part]
      if (n !== undefined) this.#spent[part] = (this.#spent[part] ?? 0) + n
    }
  }
}

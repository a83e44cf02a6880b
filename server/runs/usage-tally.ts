import type { RunEvent } from '../../protocol/events.ts'
import { addUsage, type Receipt, type Usage } from '../../protocol/receipt.ts'
import { Writer } from '../../protocol/writer.ts'
import { unpackPayload } from '../log/payload.ts'

/** What a tally has counted. */
export type Tally = {
  readonly spent: Usage
  readonly used: boolean
  readonly inexact: boolean
  readonly stated: number
  readonly iterations: number
  readonly stop?: string | undefined
}

/** The usage and the iterations of a run, as its end reports them. */
export class UsageTally {
  readonly #spent: Usage = { input: 0, output: 0 }
  #used = false
  /** The usage of a child is an estimate. */
  #inexact = false
  /** The number of texts logged when a provider last stated its usage. */
  #stated = 0
  /** About how many tokens of input each request has whose provider has not stated its usage. */
  readonly #unstated = new Set<() => number>()
  #iterations = 0
  /** Why the last answer of a model ended. */
  #stop: string | undefined

  /** What it has counted so far. */
  get tally(): Tally {
    const stop = this.#stop
    return {
      spent: { ...this.#spent },
      used: this.#used,
      inexact: this.#inexact,
      stated: this.#stated,
      iterations: this.#iterations,
      ...(stop !== undefined && { stop }),
    }
  }

  /** Goes on from what another has counted. */
  restore({ spent, used, inexact, stated, iterations, stop }: Tally): void {
    addUsage(this.#spent, spent)
    this.#used = used
    this.#inexact = inexact
    this.#stated = stated
    this.#iterations = iterations
    this.#stop = stop
  }

  /** Counts an event that the run logged. `texts`: the number of texts logged before it. */
  note(event: RunEvent, texts: number): void {
    if (event.type === 'usage') {
      this.#stated = texts
      this.#used = true
      addUsage(this.#spent, event)
    } else if (event.type === 'iteration') this.#iterations = event.n
  }

  /**
   * A request is sent to a provider. Call the function that this returns once its usage is noted, or will not be stated.
   * @param inputTokens about how many tokens of input it has.
   */
  asked(inputTokens: () => number): () => void {
    this.#unstated.add(inputTokens)
    return () => void this.#unstated.delete(inputTokens)
  }

  /**
   * A request was cut off, and the run goes on: its provider will not state what it cost. It is estimated as in a receipt.
   * @param inputTokens about how many tokens of input it has.
   * @param texts the number of texts logged.
   */
  cut(inputTokens: number, texts: number): void {
    addUsage(this.#spent, { input: inputTokens, output: texts - this.#stated })
    this.#stated = texts
    this.#used = true
    this.#inexact = true
  }

  /** Adds what a child has cost. */
  childSpent(usage: Usage & { exact?: boolean }): void {
    this.#used = true
    addUsage(this.#spent, usage)
    if (usage.exact === false) this.#inexact = true
  }

  /** A model's answer is complete. `stop`: why it ended. */
  answered(stop: string): void {
    this.#stop = stop
  }

  /** What an END reports besides its outcome. `also`: the usage of children that go on. */
  summary(also: readonly Usage[]): { usage?: Usage; stop?: string; iterations?: number } {
    return {
      ...this.usage(also),
      ...(this.#stop === undefined ? {} : { stop: this.#stop }),
      ...(this.#iterations === 0 ? {} : { iterations: this.#iterations }),
    }
  }

  /** The usage so far. `also`: the usage of children that go on. */
  usage(also: readonly Usage[]): { usage?: Usage } {
    if (!this.#used && also.length === 0) return {}
    const usage = { ...this.#spent }
    for (const more of also) addUsage(usage, more)
    return { usage }
  }

  /**
   * The usage for a receipt. A provider that was cut off has not stated its last usage: the input is estimated from the
   * size of the request. The texts logged since it last did, of `texts` in all, are about as many tokens of output.
   */
  receiptUsage(cutOff: boolean, texts: number, also: readonly Usage[]): Pick<Receipt, 'usage'> {
    const { usage } = this.usage(also)
    if (cutOff) {
      const { input = 0, output = 0 } = usage ?? {}
      let unstated = 0
      for (const inputTokens of this.#unstated) unstated += inputTokens()
      return { usage: { ...usage, input: input + unstated, output: output + texts - this.#stated, exact: false } }
    }
    return usage ? { usage: { ...usage, exact: !this.#inexact } } : {}
  }
}

/** What a run has cost, as bytes for a store. Undefined: nothing is known to cost anything. */
export function packUsage(usage: Receipt['usage']): Uint8Array | undefined {
  if (!usage) return undefined
  const writer = new Writer()
  writer.value(usage)
  return writer.take()
}

/** Unpacks what `packUsage` packed. */
export function unpackUsage(packed: Uint8Array | undefined): { usage?: Usage } {
  return packed ? { usage: unpackPayload(packed) as Usage } : {}
}

import type { RunEvent } from '../../protocol/events.ts'
import { addUsage, type Receipt, type RunUsage, type Usage } from '../../protocol/receipt.ts'
import { Writer } from '../../protocol/writer.ts'
import { unpackPayload } from '../log/payload.ts'
import type { Prices } from '../models/model.ts'
import { costOf } from '../models/prices.ts'

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
  /** The requests whose provider has not stated its usage. */
  #unstated: Set<Asked> | undefined
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
   * A request is sent to a provider.
   * @param inputTokens about how many tokens of input it has.
   * @param prices those of its model, if they are known.
   */
  asked(inputTokens: () => number, prices?: Prices): OpenRequest {
    const asked: Asked = { inputTokens, prices }
    const unstated = (this.#unstated ??= new Set()).add(asked)
    return {
      stated: () => void unstated.delete(asked),
      cut: (texts) => {
        const isUnstated = unstated.delete(asked)
        const output = texts - this.#stated
        // Some state the usage before the answer is over.
        if (!isUnstated && output === 0) return
        addUsage(this.#spent, estimated({ input: isUnstated ? inputTokens() : 0, output }, prices))
        this.#stated = texts
        this.#used = true
        this.#inexact = true
      },
    }
  }

  /** Adds what a child has cost. */
  childSpent(usage: RunUsage): void {
    this.#used = true
    addUsage(this.#spent, usage)
    if (usage.exact === false) this.#inexact = true
  }

  /** A model's answer is complete. `stop`: why it ended. */
  answered(stop: string): void {
    this.#stop = stop
  }

  /** What the END of a run that is done reports besides its usage. */
  get summary(): { stop?: string; iterations?: number } {
    return {
      ...(this.#stop === undefined ? {} : { stop: this.#stop }),
      ...(this.#iterations === 0 ? {} : { iterations: this.#iterations }),
    }
  }

  /**
   * The usage so far. A provider that is cut off does not state its last usage: the input is estimated from the size of
   * the request. The texts logged since it last did, of `texts` in all, are about as many tokens of output.
   * @param also the usage of children that go on.
   */
  usage(cutOff: boolean, texts: number, also: readonly RunUsage[]): Receipt['usage'] {
    if (!this.#used && !cutOff && also.length === 0) return undefined
    const usage = { ...this.#spent }
    for (const more of also) addUsage(usage, more)
    if (cutOff) {
      let output = texts - this.#stated
      // The texts of answers that are given at the same time are counted together, and as the first one's.
      for (const { inputTokens, prices } of this.#unstated ?? []) {
        addUsage(usage, estimated({ input: inputTokens(), output }, prices))
        output = 0
      }
      usage.output += output
    }
    return { ...usage, exact: !this.#inexact && !cutOff && also.every(({ exact }) => exact !== false) }
  }
}

/** A request whose provider has not stated its usage. */
type Asked = { readonly inputTokens: () => number; readonly prices: Prices | undefined }

function estimated(usage: Usage, prices: Prices | undefined): Usage {
  return prices ? { ...usage, cost: costOf(usage, prices) } : usage
}

/** A request that was sent to a provider. Call one of its functions when it is over. */
export type OpenRequest = {
  /** Its usage is noted, or it cost nothing. */
  stated(): void
  /**
   * It was cut off, and the run goes on: what its provider has not stated is estimated as in a receipt.
   * @param texts the number of texts logged.
   */
  cut(texts: number): void
}

/** What a run has cost, as bytes for a store. Undefined: nothing is known to cost anything. */
export function packUsage(usage: Receipt['usage']): Uint8Array | undefined {
  if (!usage) return undefined
  const writer = new Writer()
  writer.value(usage)
  return writer.take()
}

/** Unpacks what `packUsage` packed. */
export function unpackUsage(packed: Uint8Array | undefined): { usage?: RunUsage } {
  return packed ? { usage: unpackPayload(packed) as RunUsage } : {}
}

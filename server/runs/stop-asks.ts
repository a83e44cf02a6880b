import { MillraceError } from '../../protocol/errors.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { AskRefusal, SharedRuns } from '../stores/run-store.ts'
import { packAsk, type RunAsk, unpackAnswer } from './ask.ts'

/** How long after a failure a stop is asked again, in milliseconds. */
const RETRY_MS = 500
/** The most stops of calls and agents that are asked again. Those of runs are as few as the runs that are read here. */
const MOST_TARGETS = 1_024

/** An ask that stops a run, or a tool call or a sub-agent of it. */
export type StopAsk = Extract<RunAsk, { readonly type: 'cancel' | 'call' | 'agent' }>

/** What stops take from their node. */
export type StopAsksCallbacks = {
  readonly shared: SharedRuns
  readonly runtime: Pick<Runtime, 'setTimer'>
  /** The store failed, and is asked again. */
  failed(error: unknown): void
}

/**
 * What this process asks to be stopped in runs that others hold. Each stop is asked until its holder has answered or the
 * run is over, whatever fails meanwhile, and also when nobody reads the run here any more.
 */
export class StopAsks {
  readonly #node: StopAsksCallbacks
  readonly #closed = new AbortController()
  /** Those without an answer. The same one is asked once at a time. */
  readonly #open = new Map<string, Promise<boolean>>()

  constructor(node: StopAsksCallbacks) {
    this.#node = node
  }

  /** Asks nothing more. */
  close(): void {
    this.#closed.abort()
  }

  /** Resolves with whether that was going on. @throws MillraceError `store_unavailable` when it is given up. */
  ask(run: string, ask: StopAsk): Promise<boolean> {
    const name = JSON.stringify([run, ask.type, ask.type === 'cancel' ? undefined : ask.id])
    const known = this.#open.get(name)
    if (known) return known
    const isLasting = ask.type === 'cancel' || this.#open.size < MOST_TARGETS
    const asked = this.#askUntilAnswered(run, packAsk(ask), isLasting).finally(() => this.#open.delete(name))
    this.#open.set(name, asked)
    return asked
  }

  async #askUntilAnswered(run: string, packed: Uint8Array, isLasting: boolean): Promise<boolean> {
    for (;;) {
      const answer = await this.#askOnce(run, packed, isLasting)
      if (answer instanceof Uint8Array) return unpackAnswer(answer) === true
      if (answer !== 'busy') return false
      await new Promise<void>((resolve) => this.#node.runtime.setTimer(RETRY_MS, resolve))
    }
  }

  async #askOnce(run: string, packed: Uint8Array, isLasting: boolean): Promise<Uint8Array | AskRefusal> {
    try {
      return await this.#node.shared.ask(run, packed, this.#closed.signal, true)
    } catch (error) {
      if (!isLasting || this.#closed.signal.aborted || !MillraceError.is(error, 'store_unavailable')) throw error
      this.#node.failed(error)
      return 'busy'
    }
  }
}

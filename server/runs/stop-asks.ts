import { MillraceError } from '../../protocol/errors.ts'
import type { CancelCause } from '../../protocol/receipt.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { SharedRuns } from '../stores/run-store.ts'
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
  /** Ends a run that waits in a pool. Resolves with false when somebody holds it. @throws MillraceError `store_unavailable` */
  withdraw(run: string, why: CancelCause): Promise<boolean>
  /** The store failed, and is asked again. */
  failed(error: unknown): void
}

/**
 * What this process asks to be stopped in runs that others hold. Each stop is asked until the run is over, or until its
 * holder has answered that of a call or an agent, whatever fails meanwhile, and also when nobody reads the run here any
 * more.
 */
export class StopAsks {
  readonly #node: StopAsksCallbacks
  readonly #closed = new AbortController()
  /** Those without an answer. The same one is asked once at a time. */
  readonly #open = new Map<string, Promise<boolean>>()

  constructor(node: StopAsksCallbacks) {
    this.#node = node
  }

  /** Waits for no answer any more. Resolves when all that was asked is stored, or cannot be. */
  async close(): Promise<void> {
    this.#closed.abort()
    await Promise.allSettled(this.#open.values())
  }

  get isClosed(): boolean {
    return this.#closed.signal.aborted
  }

  /**
   * Resolves with whether that was going on.
   * @param isPooled whether the run may wait in a pool, where nobody hears what it is asked.
   * @throws MillraceError `store_unavailable` when it is given up.
   */
  ask(run: string, ask: StopAsk, isPooled = false): Promise<boolean> {
    const name = JSON.stringify([run, ask.type, ask.type === 'cancel' ? undefined : ask.id])
    const known = this.#open.get(name)
    if (known) return known
    const isLasting = ask.type === 'cancel' || this.#open.size < MOST_TARGETS
    const asked = this.#askUntilAnswered(run, ask, isLasting, isPooled).finally(() => this.#open.delete(name))
    this.#open.set(name, asked)
    return asked
  }

  async #askUntilAnswered(run: string, ask: StopAsk, isLasting: boolean, isPooled: boolean): Promise<boolean> {
    for (;;) {
      const isLast = this.isClosed
      const answer = await this.#askOnce(run, ask, isLasting, isPooled)
      if (answer !== 'busy') return answer
      if (isLast) throw new MillraceError('store_unavailable', 'the stop was given up: this server is closed')
      await new Promise<void>((resolve) => this.#node.runtime.setTimer(RETRY_MS, resolve))
    }
  }

  async #askOnce(run: string, ask: StopAsk, isLasting: boolean, isPooled: boolean): Promise<boolean | 'busy'> {
    try {
      if (isPooled && ask.type === 'cancel' && (await this.#node.withdraw(run, ask.why))) return true
      const answer = await this.#node.shared.ask(run, packAsk(ask), this.#closed.signal, true)
      if (answer instanceof Uint8Array) return unpackAnswer(answer) === true
      return answer === 'busy' && answer
    } catch (error) {
      if (!isLasting || this.#closed.signal.aborted || !MillraceError.is(error, 'store_unavailable')) throw error
      this.#node.failed(error)
      return 'busy'
    }
  }
}

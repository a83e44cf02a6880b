import { createInterface } from 'node:readline/promises'
import type { Run, StreamEvent } from '../../client-sdk/node.ts'
import type { Output } from './output.ts'

/** How a command answers a request for approval: `skip` leaves the answer to other clients. */
export type ApprovalMode = 'allow' | 'ask' | 'refuse' | 'skip'

/**
 * The mode of a command: it asks on a terminal.
 * @param allow Approves every request instead.
 * @param otherwise The mode without a terminal.
 */
export function approvalMode(allow: boolean, otherwise: 'refuse' | 'skip'): ApprovalMode {
  if (allow) return 'allow'
  return process.stdin.isTTY && process.stderr.isTTY ? 'ask' : otherwise
}

/** Answers the requests for approval of a run, one after the other. Reading the run goes on meanwhile. */
export class Approvals {
  readonly #run: Run
  readonly #output: Output
  readonly #mode: ApprovalMode
  /** Aborts when the command stops reading the run. */
  readonly #over = new AbortController()
  /** The open questions, by tool call. Aborting one withdraws it. */
  readonly #asked = new Map<string, AbortController>()
  #last: Promise<void> = Promise.resolve()

  constructor(run: Run, output: Output, mode: ApprovalMode) {
    this.#run = run
    this.#output = output
    this.#mode = mode
  }

  /** Handles an event of the run. */
  take(event: StreamEvent): void {
    if (event.type === 'tool.result') this.#asked.get(event.call)?.abort()
    if (event.type !== 'request' || event.kind !== 'approve' || event.call === undefined) return
    const { call } = event
    if (this.#mode === 'refuse') this.#output.note('refused: no terminal to ask on; --yes approves all calls')
    if (this.#mode === 'refuse') this.#answer(call, false)
    if (this.#mode === 'allow') this.#answer(call, true)
    if (this.#mode !== 'ask') return
    const withdrawn = new AbortController()
    this.#asked.set(call, withdrawn)
    this.#last = this.#last.then(() => this.#ask(call, withdrawn.signal))
  }

  /** Withdraws all questions. */
  close(): void {
    this.#over.abort()
  }

  async #ask(call: string, withdrawn: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([this.#over.signal, withdrawn])
    if (signal.aborted) return
    this.#output.quiet()
    const terminal = createInterface({ input: process.stdin, output: process.stderr })
    // While readline reads the terminal, it gets the Ctrl-C: pass it on.
    terminal.on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
    try {
      const reply = await terminal.question('approve? [y/N] ', { signal })
      this.#answer(call, /^y(es)?$/i.test(reply.trim()))
    } catch {
      // Another client answered, or the run is over.
    } finally {
      terminal.close()
      this.#asked.delete(call)
    }
  }

  #answer(call: string, ok: boolean): void {
    this.#run
      .send('approve', { call, ok })
      .catch(() => this.#output.note('another client has answered this request already'))
  }
}

import { createInterface } from 'node:readline/promises'
import type { Run, StreamEvent } from '../../client-sdk/node.ts'
import type { Output } from './output.ts'

/** What becomes of a request for approval: it is allowed, or a person is asked, or refused, or left to somebody else. */
export type ApprovalMode = 'allow' | 'ask' | 'refuse' | 'leave'

/** How a command answers that was told to `allow` everything, or not. */
export function approvalMode(allow: boolean, otherwise: 'refuse' | 'leave'): ApprovalMode {
  if (allow) return 'allow'
  return process.stdin.isTTY && process.stderr.isTTY ? 'ask' : otherwise
}

/** Answers what a run asks leave for, one request after the other, while the run is read on. */
export class Approvals {
  readonly #run: Run
  readonly #output: Output
  readonly #mode: ApprovalMode
  /** Aborts when the run is over, or left. */
  readonly #over = new AbortController()
  /** The question a person is being asked, by the call it is about. */
  readonly #asked = new Map<string, AbortController>()
  #last: Promise<void> = Promise.resolve()

  constructor(run: Run, output: Output, mode: ApprovalMode) {
    this.#run = run
    this.#output = output
    this.#mode = mode
  }

  /** Takes note of an event. */
  take(event: StreamEvent): void {
    if (event.type === 'tool.result') this.#asked.get(event.call)?.abort()
    if (event.type !== 'request' || event.kind !== 'approve' || event.call === undefined) return
    const { call } = event
    if (this.#mode === 'refuse') this.#output.note('refused: nobody is here to ask; --yes allows it')
    if (this.#mode === 'refuse') this.#answer(call, false)
    if (this.#mode === 'allow') this.#answer(call, true)
    if (this.#mode !== 'ask') return
    const withdrawn = new AbortController()
    this.#asked.set(call, withdrawn)
    this.#last = this.#last.then(() => this.#ask(call, withdrawn.signal))
  }

  /** Nobody is asked any more. */
  close(): void {
    this.#over.abort()
  }

  async #ask(call: string, withdrawn: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([this.#over.signal, withdrawn])
    if (signal.aborted) return
    this.#output.quiet()
    const terminal = createInterface({ input: process.stdin, output: process.stderr })
    // A terminal that is being read gives its Ctrl-C to the reader.
    terminal.on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
    try {
      const said = await terminal.question('allow it? [y/N] ', { signal })
      this.#answer(call, /^y(es)?$/i.test(said.trim()))
    } catch {
      // It was answered elsewhere, or the run is over.
    } finally {
      terminal.close()
      this.#asked.delete(call)
    }
  }

  #answer(call: string, ok: boolean): void {
    this.#run.send('approve', { call, ok }).catch(() => this.#output.note('somebody else has answered that'))
  }
}

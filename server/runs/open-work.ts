import type { CancelCause } from '../../protocol/receipt.ts'
import type { OpenTool, StopWork } from '../tools/tool-runner.ts'

/** What was open when a run was stopped. */
export type OpenWorkSnapshot = { provider: boolean; tools: string[] }

/** The books of a run on what it has open beside its actor: provider requests and tool calls. */
export class OpenWork {
  #providers = 0
  /** Tools that have not finished. */
  #tools = 0
  /** Calls that have not finished, or whose result was not told. */
  readonly #calls = new Set<{
    readonly id: string
    readonly stop: StopWork
    isFinished: boolean
    isReported: boolean
  }>()
  readonly #onIdle: () => void

  constructor(onIdle: () => void) {
    this.#onIdle = onIdle
  }

  get idle(): boolean {
    return this.#providers === 0 && this.#tools === 0
  }

  /** Begins a provider request. Call what it returns once it is finished; calling it again does nothing. */
  openProvider(): () => void {
    this.#providers++
    let open = true
    return () => {
      if (!open) return
      open = false
      this.#providers--
      this.#checkIdle()
    }
  }

  /** Begins a tool call. */
  openTool(id: string, stop: StopWork): OpenTool {
    const call = { id, stop, isFinished: false, isReported: false }
    this.#calls.add(call)
    this.#tools++
    return {
      finished: () => {
        if (call.isFinished) return
        call.isFinished = true
        if (call.isReported) this.#calls.delete(call)
        this.#tools--
        this.#checkIdle()
      },
      reported: () => {
        call.isReported = true
        if (call.isFinished) this.#calls.delete(call)
      },
    }
  }

  /** Stops the tool call of that id. False when there is none, or its result was told. */
  stopTool(id: string, cause: CancelCause): boolean {
    const named = [...this.#calls].filter((call) => call.id === id && !call.isReported)
    for (const { stop } of named) stop(cause)
    return named.length > 0
  }

  /** What is open now. */
  snapshot(): OpenWorkSnapshot {
    const open = [...this.#calls].filter(({ isFinished }) => !isFinished)
    return { provider: this.#providers > 0, tools: open.map(({ id }) => id) }
  }

  #checkIdle(): void {
    if (this.idle) this.#onIdle()
  }
}

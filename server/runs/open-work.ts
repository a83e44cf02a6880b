import type { CallWait } from '../tools/tool-runner.ts'
import type { WaitingCall } from './parked-run.ts'

/** What was open when a run was stopped. */
export type OpenWorkSnapshot = { provider: boolean; tools: string[] }

type Call = { readonly id: string; waits: CallWait | undefined }

/** What a run has open besides its actor: provider requests and tool calls. */
export class OpenWork {
  #providers = 0
  /** Calls that have not finished. Made for the first: an empty Set takes 200 bytes, also in each ended run that is kept. */
  #calls: Set<Call> | undefined
  readonly #onIdle: () => void

  constructor(onIdle: () => void) {
    this.#onIdle = onIdle
  }

  get idle(): boolean {
    return this.#providers === 0 && !this.#calls?.size
  }

  /** Begins a provider request. Call the function it returns once the request has finished; a second call does nothing. */
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

  /** Begins a tool call. Call `finished` once the tool has finished; a second call does nothing. */
  openTool(id: string): { finished: () => void; waits: (waits: CallWait | undefined) => void } {
    const call: Call = { id, waits: undefined }
    const calls = (this.#calls ??= new Set()).add(call)
    return {
      finished: () => {
        if (calls.delete(call)) this.#checkIdle()
      },
      waits: (waits) => {
        call.waits = waits
      },
    }
  }

  /** The calls that are open, if all of them wait and no provider is asked. */
  get waiting(): WaitingCall[] | undefined {
    if (this.#providers > 0) return undefined
    const waiting: WaitingCall[] = []
    for (const { id, waits } of this.#calls ?? []) {
      if (!waits) return undefined
      waiting.push({ id, ...waits })
    }
    return waiting
  }

  /** What is open now. */
  snapshot(): OpenWorkSnapshot {
    return { provider: this.#providers > 0, tools: this.#calls ? Array.from(this.#calls, ({ id }) => id) : [] }
  }

  #checkIdle(): void {
    if (this.idle) this.#onIdle()
  }
}

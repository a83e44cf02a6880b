/** What was open when a run was stopped. */
export type OpenWorkSnapshot = { provider: boolean; tools: string[] }

/** What a run has open besides its actor: provider requests and tool calls. */
export class OpenWork {
  #providers = 0
  /** Calls that have not finished. */
  readonly #calls = new Set<{ readonly id: string }>()
  readonly #onIdle: () => void

  constructor(onIdle: () => void) {
    this.#onIdle = onIdle
  }

  get idle(): boolean {
    return this.#providers === 0 && this.#calls.size === 0
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

  /** Begins a tool call. Call the function it returns once the tool has finished; a second call does nothing. */
  openTool(id: string): () => void {
    const call = { id }
    this.#calls.add(call)
    return () => {
      if (this.#calls.delete(call)) this.#checkIdle()
    }
  }

  /** What is open now. */
  snapshot(): OpenWorkSnapshot {
    return { provider: this.#providers > 0, tools: Array.from(this.#calls, ({ id }) => id) }
  }

  #checkIdle(): void {
    if (this.idle) this.#onIdle()
  }
}

/** Work that a cancel must reach and wait for. */
export type WorkKind = 'provider' | 'tool'

/** What was open when a run was stopped. */
export type OpenWork = { provider: boolean; tools: string[] }

/** The books of a run on what it has open beside its actor: provider requests, and tool calls by id. */
export class Work {
  #providers = 0
  readonly #tools = new Map<symbol, string>()
  readonly #onIdle: () => void

  constructor(onIdle: () => void) {
    this.#onIdle = onIdle
  }

  get idle(): boolean {
    return this.#providers === 0 && this.#tools.size === 0
  }

  /** Begins a piece of work. Call what it returns once it is finished; calling it again does nothing. */
  open(kind: WorkKind, id: string): () => void {
    const entry = Symbol(id)
    if (kind === 'provider') this.#providers++
    else this.#tools.set(entry, id)
    let open = true
    return () => {
      if (!open) return
      open = false
      if (kind === 'provider') this.#providers--
      else this.#tools.delete(entry)
      if (this.idle) this.#onIdle()
    }
  }

  /** What is open now. */
  snapshot(): OpenWork {
    return { provider: this.#providers > 0, tools: [...this.#tools.values()] }
  }
}

import type { CancelCause } from '../protocol/receipt.ts'

/** Work that a cancel must reach and wait for. */
export type WorkKind = 'provider' | 'tool'

/** Stops one piece of work by itself. False when it is as good as over. */
export type StopWork = (cause: CancelCause) => boolean

/** What was open when a run was stopped. */
export type OpenWork = { provider: boolean; tools: string[] }

/** The books of a run on what it has open beside its actor: provider requests, and tool calls by id. */
export class Work {
  #providers = 0
  readonly #tools = new Map<symbol, { id: string; stop: StopWork }>()
  readonly #onIdle: () => void

  constructor(onIdle: () => void) {
    this.#onIdle = onIdle
  }

  get idle(): boolean {
    return this.#providers === 0 && this.#tools.size === 0
  }

  /**
   * Begins a piece of work. Call what it returns once it is finished; calling it again does nothing.
   * @param stop how to stop it alone. Default: it cannot be.
   */
  open(kind: WorkKind, id: string, stop: StopWork = () => false): () => void {
    const entry = Symbol(id)
    if (kind === 'provider') this.#providers++
    else this.#tools.set(entry, { id, stop })
    let open = true
    return () => {
      if (!open) return
      open = false
      if (kind === 'provider') this.#providers--
      else this.#tools.delete(entry)
      if (this.idle) this.#onIdle()
    }
  }

  /** Stops the tool call of that id. False when none goes on. */
  stopTool(id: string, cause: CancelCause): boolean {
    return [...this.#tools.values()].some((tool) => tool.id === id && tool.stop(cause))
  }

  /** What is open now. */
  snapshot(): OpenWork {
    return { provider: this.#providers > 0, tools: [...this.#tools.values()].map(({ id }) => id) }
  }
}

/** Which agents of a run go on, and which of them began which. */
export class AgentTree {
  /** By agent, who began it. */
  readonly #parents = new Map<string, string | undefined>()

  begin(agent: string, parent?: string): void {
    this.#parents.set(agent, parent)
  }

  has(agent: string): boolean {
    return this.#parents.has(agent)
  }

  /** An agent ends. Returns it and those that end with it, as they began below it and were not told to have ended. */
  end(agent: string): string[] {
    this.#parents.delete(agent)
    const ended = [agent]
    for (const one of ended) {
      for (const [id, parent] of this.#parents) {
        if (parent !== one) continue
        this.#parents.delete(id)
        ended.push(id)
      }
    }
    return ended
  }
}

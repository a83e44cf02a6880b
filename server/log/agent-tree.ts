/** The agents of a run that have not ended, and the parent of each. */
export class AgentTree {
  /** By agent, the agent that started it. */
  readonly #parents = new Map<string, string | undefined>()

  begin(agent: string, parent?: string): void {
    this.#parents.set(agent, parent)
  }

  /** Each agent that has not ended, with its parent: parents come first. */
  get all(): [agent: string, parent: string | null][] {
    return Array.from(this.#parents, ([agent, parent]) => [agent, parent ?? null])
  }

  has(agent: string): boolean {
    return this.#parents.has(agent)
  }

  /** Ends an agent. Returns its id and the ids of its open descendants, which end with it. */
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

/** A result that a step has given before. */
type Kept = {
  readonly value: unknown
  /** It is of an earlier run: the readers of this one have not learnt it. */
  readonly isNews: boolean
}

/** What `KeptResults` goes on from in another process. */
type KeptState = {
  /** A step without a result has its id only. */
  readonly results: readonly (readonly [id: string, value?: unknown])[]
  readonly positions: readonly (readonly [id: string, done: number])[]
  readonly times: readonly (readonly [id: string, until: number])[]
  readonly told: readonly string[]
}

/**
 * What the finished steps of a run have given, by their ids. A step whose result is here is not done again: after a
 * restart, and in a run that begins where another one failed.
 */
export class KeptResults {
  readonly #results = new Map<string, Kept>()
  /** How many items of each batch are done. */
  readonly #positions = new Map<string, number>()
  /** Until when a wait for a time goes on, in epoch milliseconds. */
  readonly #times = new Map<string, number>()
  /** Steps that have begun, and ways that are not taken: readers know it. */
  readonly #told = new Set<string>()

  /** Whether readers have still to learn that a step begins, or is left out. It counts as told from now on. */
  tell(id: string): boolean {
    if (this.#told.has(id)) return false
    this.#told.add(id)
    return true
  }

  /** The result of a step that has finished. */
  find(id: string): Kept | undefined {
    return this.#results.get(id)
  }

  add(id: string, value: unknown): void {
    this.#results.set(id, { value, isNews: false })
    this.#told.delete(id)
  }

  /** A step has failed: it may begin again. */
  failed(id: string): void {
    this.#told.delete(id)
  }

  /** How many items of a batch are done. */
  position(id: string): number {
    return this.#positions.get(id) ?? 0
  }

  moveTo(id: string, done: number): void {
    this.#positions.set(id, done)
  }

  /** Until when a step waits. The first answer holds. */
  timeOf(id: string, until: number): number {
    const known = this.#times.get(id)
    if (known !== undefined) return known
    this.#times.set(id, until)
    return until
  }

  forget(id: string): void {
    this.#results.delete(id)
  }

  /** Forgets what is inside a step that has finished: its own result has it all. */
  forgetWithin(id: string): void {
    for (const kept of [this.#results, this.#positions, this.#times, this.#told])
      for (const key of kept.keys()) if (key.startsWith(`${id}/`) || key.startsWith(`${id}[`)) kept.delete(key)
  }

  /** Forgets what is inside the items of a `map`: the results of their chunk have it all. */
  forgetItems(id: string): void {
    for (const kept of [this.#results, this.#positions, this.#times, this.#told])
      for (const key of kept.keys()) if (key.startsWith(`${id}[`) && key.includes(']/', id.length)) kept.delete(key)
  }

  /** All of it, for a store. */
  get state(): KeptState {
    return {
      results: Array.from(this.#results, ([id, { value }]) => (value === undefined ? [id] : [id, value])),
      positions: [...this.#positions],
      times: [...this.#times],
      told: [...this.#told],
    }
  }

  /** Goes on from what another process has stored of the same run. */
  restore({ results, positions, times, told }: KeptState): void {
    for (const [id, value] of results) this.add(id, value)
    for (const [id, done] of positions) this.moveTo(id, done)
    for (const [id, until] of times) this.#times.set(id, until)
    for (const id of told) this.#told.add(id)
  }

  /** Takes the result of a step of an earlier run. The readers of this one have still to learn it. */
  learn(id: string, value: unknown): void {
    this.#results.set(id, { value, isNews: true })
    // A loop begins with its last iteration, which is known by its number.
    const turn = /^(.*)\[(\d+)\]$/.exec(id)
    if (turn) this.moveTo(turn[1] as string, Number(turn[2]))
  }
}

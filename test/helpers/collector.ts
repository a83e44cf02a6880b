export type CollectorOptions = {
  /** How long anything may take to come. Default: as long as the test may. */
  patienceMs?: number
  /** Describes what came instead, for the error when something does not come. */
  describe?: () => string
}

/** The items so far, and a way to wait for more: the same for sockets, child processes and readers. */
export class Collector<Item> {
  readonly items: Item[] = []
  readonly #patienceMs: number | undefined
  readonly #describe: () => string
  readonly #watchers = new Set<() => void>()
  #end: string | Error | undefined

  constructor({ patienceMs, describe = () => `${this.items.length} items came` }: CollectorOptions = {}) {
    this.#patienceMs = patienceMs
    this.#describe = describe
  }

  add(...items: Item[]): void {
    this.items.push(...items)
    this.look()
  }

  /** Nothing comes any more: waiting for it fails with this reason, or this error. Only the first call counts. */
  end(reason: string | Error): void {
    this.#end ??= reason
    this.look()
  }

  /** Looks whether what is waited for is there. To be called when more has changed than the items. */
  look(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }

  /** Resolves with the first thing that `search` finds. It searches again whenever something came. */
  find<Found>(search: () => Found | undefined, what: string): Promise<Found> {
    return new Promise((resolve, reject) => {
      const settle = (how: () => void): void => {
        clearTimeout(timer)
        this.#watchers.delete(watcher)
        how()
      }
      const fail = (why: string): void => settle(() => reject(new Error(`${why}: ${this.#describe()}`)))
      const watcher = (): void => {
        const found = search()
        const end = this.#end
        if (found !== undefined) settle(() => resolve(found))
        else if (end instanceof Error) settle(() => reject(end))
        else if (end !== undefined) fail(`${end} before ${what}`)
      }
      const ms = this.#patienceMs
      const timer = ms === undefined ? undefined : setTimeout(() => fail(`no ${what} within ${ms} ms`), ms)
      this.#watchers.add(watcher)
      watcher()
    })
  }

  /** Resolves when `holds`; looked at whenever something came. */
  async until(holds: () => boolean, what: string): Promise<void> {
    await this.find(() => holds() || undefined, what)
  }
}

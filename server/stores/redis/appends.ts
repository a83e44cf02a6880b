import type { Argument, Reply } from './client.ts'

/** The most appends of one call: Redis does nothing else meanwhile. */
const MOST = 64

/** One append, until it is answered. */
type Waiting = {
  readonly keys: readonly string[]
  readonly args: readonly Argument[]
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: unknown) => void
}

/** The appends of one moment: they travel to Redis in one call, which costs both sides less than a call for each run. */
export class Appends {
  readonly #run: (keys: readonly string[], args: readonly Argument[]) => Promise<Reply>
  #waiting: Waiting[] = []

  /** @param run calls the script for appends. */
  constructor(run: (keys: readonly string[], args: readonly Argument[]) => Promise<Reply>) {
    this.#run = run
  }

  /** Sends an append together with the others of this moment. Resolves with what the script gives for it. */
  add(keys: readonly string[], args: readonly Argument[]): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const count = this.#waiting.push({ keys, args, resolve, reject })
      if (count === MOST) this.send()
      else if (count === 1) queueMicrotask(() => this.send())
    })
  }

  /** Sends what waits, now: what is said next comes behind it. */
  send(): void {
    const appends = this.#waiting.splice(0)
    if (appends.length > 0) void this.#send(appends)
  }

  async #send(appends: readonly Waiting[]): Promise<void> {
    try {
      const keys = appends.flatMap((append) => append.keys)
      const args = appends.flatMap((append) => [`${append.args.length}`, ...append.args])
      const replies = (await this.#run(keys, args)) as Reply[]
      for (const [n, { resolve }] of appends.entries()) resolve(replies[n]!)
    } catch (error) {
      // What Redis cannot do for one of them must not hold up the others. While it does not answer, each fails at once.
      if (appends.length > 1) for (const append of appends) void this.#send([append])
      else appends[0]?.reject(error)
    }
  }
}

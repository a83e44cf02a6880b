import type { ChildrenView, ServerView } from '../actors/server-view.ts'

/** How long a look waits for the servers that it asks, in milliseconds. */
const WAIT_MS = 500
/** How long a server has to answer, in milliseconds. What comes after the look that asked is for a later one. */
const ANSWER_MS = 5_000

/** A server that is asked. */
class AskedServer {
  readonly #given = new AbortController()
  #asking: Promise<void> | undefined
  #said: ChildrenView | undefined
  /** A look went on without its answer: no other one waits for it until it has answered. */
  isLate = false

  /** Asks it, unless it has still to answer. Resolves when it has, or never will. */
  ask(question: (signal: AbortSignal) => Promise<ChildrenView | undefined>, view: ServerView): Promise<void> {
    this.#asking ??= this.#ask(question, view).finally(() => (this.#asking = undefined))
    return this.#asking
  }

  async #ask(question: (signal: AbortSignal) => Promise<ChildrenView | undefined>, view: ServerView): Promise<void> {
    const late = new AbortController()
    const timer = view.runtime.setTimer(ANSWER_MS, () => late.abort())
    try {
      this.#said = await question(AbortSignal.any([late.signal, this.#given.signal]))
    } catch {
      // The store does not answer. What is known stays.
    } finally {
      timer.clear()
    }
  }

  /** What it has said since the last call. */
  take(): ChildrenView | undefined {
    const said = this.#said
    this.#said = undefined
    this.isLate = said === undefined
    return said
  }

  /** Waits for its answer no more. */
  giveUp(): void {
    this.#given.abort()
  }
}

/** Asks other servers which children they execute. One that stands still holds up one look, and not those that follow. */
export class AskedServers {
  readonly #view: ServerView
  readonly #servers = new Map<string, AskedServer>()

  constructor(view: ServerView) {
    this.#view = view
  }

  /** What those of `names` say that answer. Asks others no more. */
  async ask(
    names: ReadonlySet<string>,
    question: (server: string, signal: AbortSignal) => Promise<ChildrenView | undefined>,
  ): Promise<ReadonlyMap<string, ChildrenView>> {
    this.#keep(names)
    const awaited: Promise<void>[] = []
    for (const name of names) {
      const server = this.#servers.get(name) ?? new AskedServer()
      this.#servers.set(name, server)
      const asking = server.ask((signal) => question(name, signal), this.#view)
      if (!server.isLate) awaited.push(asking)
    }
    await this.#inTime(awaited)
    const answers = new Map<string, ChildrenView>()
    for (const [name, server] of this.#servers) {
      const said = server.take()
      if (said) answers.set(name, said)
    }
    return answers
  }

  /** Asks nobody any more. */
  close(): void {
    this.#keep(new Set())
  }

  #keep(names: ReadonlySet<string>): void {
    for (const [name, server] of this.#servers) {
      if (names.has(name)) continue
      server.giveUp()
      this.#servers.delete(name)
    }
  }

  async #inTime(answers: readonly Promise<void>[]): Promise<void> {
    if (answers.length === 0) return
    await new Promise<void>((resolve) => {
      const timer = this.#view.runtime.setTimer(WAIT_MS, resolve)
      void Promise.all(answers).then(() => {
        timer.clear()
        resolve()
      })
    })
  }
}

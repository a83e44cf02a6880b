import { MillraceError } from '../../server/index.ts'
import { memoryStore } from '../../server/stores/memory-store.ts'
import type { RunStore } from '../../server/stores/run-store.ts'
import { FailingStore } from '../helpers/failing-store.ts'
import type { Stage } from './stage.ts'

/** How long people wait before they start a server again whose store failed. */
const RESTART_MS = 500

/** A process, as the code of its actors sees it: once it is dead, that code never goes on. */
export class Life {
  readonly number: number
  readonly #stage: Stage
  #isOver = false
  /** It goes away in order: its server ends what goes on. */
  isClosing = false

  constructor(stage: Stage, number: number) {
    this.#stage = stage
    this.number = number
  }

  get isOver(): boolean {
    return this.#isOver
  }

  end(): void {
    this.#isOver = true
  }

  /** Resolves at once, or never: what a dead process does never ends, and nobody sees it. */
  live(): Promise<void> {
    return this.#isOver ? new Promise(() => {}) : Promise.resolve()
  }

  /** Resolves when `ms` have passed; rejects with the reason of `signal`. */
  async pause(signal: AbortSignal | undefined, ms: number): Promise<void> {
    try {
      await this.#stage.pause(signal, ms)
    } finally {
      await this.live()
    }
  }
}

/** What a process has of a server. */
type Served = { listen(): Promise<unknown>; close(options: { drainMs: number }): Promise<void> }

/** Servers, one after the other, that have one store: each dies, or goes away in order, and the next one begins. */
export class Lives<Server extends Served> {
  readonly kept: RunStore = memoryStore()
  readonly #stage: Stage
  readonly #make: (store: FailingStore, life: Life) => Server
  #life!: Life
  #server!: Server
  #store: FailingStore
  #isRestarting = false
  #number = 0

  /** @param make makes the server of a process. */
  constructor(stage: Stage, make: (store: FailingStore, life: Life) => Server) {
    this.#stage = stage
    this.#make = make
    this.#store = new FailingStore(this.kept, stage.time)
  }

  /** That of the newest process. */
  get server(): Server {
    return this.#server
  }

  /** The access of the newest process. */
  get store(): FailingStore {
    return this.#store
  }

  get life(): Life {
    return this.#life
  }

  /** One process is gone, and the next one does not listen yet. */
  get isRestarting(): boolean {
    return this.#isRestarting
  }

  /** The next process begins. */
  async begin(): Promise<void> {
    this.#isRestarting = true
    this.#life = new Life(this.#stage, ++this.#number)
    this.#server = this.#make(this.#store, this.#life)
    try {
      await this.#server.listen()
      this.#isRestarting = false
    } catch (error) {
      // The store failed: whoever runs the server begins it again.
      if (!MillraceError.is(error, 'store_unavailable')) throw error
      this.#life.end()
      await this.#stage.pause(undefined, RESTART_MS)
      this.#store = this.#store.kill()
      await this.begin()
    }
  }

  /** The process dies, and the next one begins. */
  kill(): void {
    this.#isRestarting = true
    this.#die()
    for (const link of this.#stage.network.links) if (link.isOpen) link.cut()
    this.#beginNext()
  }

  /**
   * The process goes away in order, and the next one begins.
   * @param patience how long it may take, given what resolves when all of its runs have ended.
   */
  close(patience: (closed: Promise<void>) => Promise<unknown>): void {
    this.#isRestarting = true
    const server = this.#server
    this.#life.isClosing = true
    const closing = async (): Promise<void> => {
      await patience(server.close({ drainMs: Number.POSITIVE_INFINITY }))
      await server.close({ drainMs: 0 })
      this.#die()
      this.#beginNext()
    }
    closing().catch((error: unknown) => this.#stage.failed(error))
  }

  #die(): void {
    this.#life.end()
    this.#store = this.#store.kill()
    this.#stage.network.refuse()
  }

  #beginNext(): void {
    this.begin().catch((error: unknown) => this.#stage.failed(error))
  }
}

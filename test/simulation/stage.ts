import type { Authenticate } from '../../server/index.ts'
import { Network, type Tamper } from './network.ts'
import { Chance, microtasks, pauseOf, VirtualTime } from './virtual-time.ts'

/** Limits of a simulated server: patience is long, as time costs nothing, and nothing is refused for being too much. */
export const PATIENT = {
  resumeMs: 3_600_000,
  endedMs: 3_600_000,
  timeoutMs: 3_600_000,
  heartbeatMs: 3_000,
  pongMs: 3_000,
  startsPerSec: 1_000,
  startBurst: 1_000,
  maxConnections: 1_000,
  messagesPerSec: 100_000,
  slowMs: 600_000,
} as const

/** A client is who its `auth` says. B may watch the runs of others. */
export const byName: Authenticate = ({ auth }) => ({
  id: String(auth),
  ...(auth === 'B' ? { rights: ['observe'] as const } : {}),
})

/** Something happened that must never happen. */
export class Violation extends Error {
  readonly kind: string

  constructor(kind: string, detail: string) {
    super(`${kind}: ${detail}`)
    this.kind = kind
  }
}

/** Where a simulated world plays: the time, the chance and the links that a seed drives, and what was violated there. */
export class Stage {
  readonly chance: Chance
  readonly time: VirtualTime
  readonly network: Network
  /** What happened, for people who look for a cause. */
  readonly trace: string[] = []
  #failure: unknown

  constructor(seed: number, tamper: Tamper | undefined) {
    this.chance = new Chance(seed)
    this.time = new VirtualTime(this.chance)
    this.network = new Network(this.chance, tamper)
  }

  log(line: string): void {
    this.trace.push(`${Math.round(this.time.now())} ${line}`)
  }

  /** Notes a violation; the first one counts. */
  fail(kind: string, detail: string): Violation {
    const violation = new Violation(kind, detail)
    this.failed(violation)
    return violation
  }

  /** Notes something thrown where nothing may be. */
  failed(error: unknown): void {
    this.#failure ??= error
  }

  /** @throws the first violation. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure as Error
  }

  /** Resolves when `ms` have passed; rejects with the reason of `signal`. */
  pause(signal: AbortSignal | undefined, ms: number): Promise<void> {
    return pauseOf(this.time, signal, ms)
  }

  /** Cuts a link, if there is one; one of its ends may learn of it at once. */
  cut(): void {
    const open = this.network.links.filter((link) => link.isOpen && !link.dead)
    if (open.length === 0) return
    const link = this.chance.pick(open)
    this.log('cut')
    link.cut()
    if (this.chance.of(0.5)) link.tellClient(1006)
    else if (this.chance.of(0.5)) link.tellServer(1006)
  }

  /** The ends of a link learn in their own time that it is cut or closed; all of them at once when that is `certain`. */
  learn(certain = false): void {
    for (const link of this.network.links) {
      if (link.dead && (certain || this.chance.of(0.05))) {
        const whom = certain ? 'both' : this.chance.pick(['client', 'server', 'both'] as const)
        if (whom !== 'server') link.tellClient(1006)
        if (whom !== 'client') link.tellServer(1006)
      }
      if (!link.clientKnows && link.up.length === 0 && (certain || this.chance.of(0.1))) link.tellServer(1005)
    }
    this.network.sweep()
  }

  /** Delivers what is on its way, and what that leads to, in at most so many rounds. */
  async flush(rounds: number): Promise<void> {
    for (let n = 0; n < rounds; n++) {
      const { busy } = this.network
      for (const link of busy) {
        this.network.step(link)
        await microtasks()
      }
      if ((await this.time.turn()) === 0 && busy.length === 0) return
    }
  }

  /** Lets time and messages go on until `ending` has settled; a violation if it does not. */
  async drive(ending: Promise<unknown>): Promise<void> {
    let over = false
    const noted = ending.finally(() => (over = true))
    noted.catch(() => {})
    for (let n = 0; n < 500 && !over; n++) {
      this.learn(true)
      await this.flush(20)
      await this.time.advance(50)
    }
    if (over) await noted
    else this.fail('close-hangs', 'the end did not come')
  }
}

/** Asks an iterator for one thing at a time, however often it is asked itself. */
export class StepReader<T> {
  readonly #iterator: AsyncIterator<T, unknown>
  readonly #took: (value: T) => void
  readonly #over: (error: unknown) => void
  #reading = false
  #done = false

  /** @param over called once, with what was thrown or undefined. */
  constructor(iterator: AsyncIterator<T, unknown>, took: (value: T) => void, over: (error: unknown) => void) {
    this.#iterator = iterator
    this.#took = took
    this.#over = over
  }

  /** Nothing comes any more. */
  get done(): boolean {
    return this.#done
  }

  #read(): void {
    if (this.#reading || this.#done) return
    this.#reading = true
    this.#iterator.next().then(
      ({ done, value }) => {
        this.#reading = false
        if (done) this.#end(undefined)
        else this.#took(value)
      },
      (error: unknown) => {
        this.#reading = false
        this.#end(error)
      },
    )
  }

  /** Asks up to `times`, as long as there is an answer at once. */
  async readOn(times: number): Promise<void> {
    for (; times > 0 && !this.#reading && !this.#done; times--) {
      this.#read()
      await microtasks()
    }
  }

  #end(error: unknown): void {
    this.#done = true
    this.#over(error)
  }
}

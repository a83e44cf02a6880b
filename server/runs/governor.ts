import { MillraceError } from '../../protocol/errors.ts'
import type { Usage } from '../../protocol/receipt.ts'
import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { untilAborted } from '../streams/until-aborted.ts'

/** How often a budget is compared with what an answer that is under way costs by estimate. */
const CHECK_MS = 100

type Limit = number | null

/**
 * What a client orders: to pause, to slow down, to spend no more than that. What is left out stays as it is; null lifts a
 * limit.
 */
export type GovernOrder = {
  paused?: boolean
  perSec?: Limit
  budget?: { tokens?: Limit; ms?: Limit; cost?: Limit } | null
}

/** What a governor takes from its run. */
export type GovernorCallbacks = {
  readonly runtime: Runtime
  readonly startedAt: number
  /** What the run and its children have cost so far, if anything. */
  spent(): Usage | undefined
  /** Stops the run. */
  exceeded(error: MillraceError): void
}

/** The orders that hold for a run and all below it. It is made for the first one. */
export class Governor {
  readonly #run: GovernorCallbacks
  #pause: { readonly over: Promise<void>; end(): void } | undefined
  #perSec: number | undefined
  /** When the next piece of an answer may come. */
  #nextAt = 0
  /** Let the pieces pass that wait for their time. */
  readonly #waiting = new Set<() => void>()
  #budget: { tokens?: Limit; ms?: Limit; cost?: Limit } = {}
  #deadline: Timer | undefined
  #check: Timer | undefined

  constructor(run: GovernorCallbacks) {
    this.#run = run
  }

  get isPaused(): boolean {
    return this.#pause !== undefined
  }

  /** Carries out an order. */
  order({ paused, perSec, budget }: GovernOrder): void {
    if (paused === true) this.#pause ??= pause()
    else if (paused === false) this.#resume()
    if (perSec !== undefined) this.#setRate(perSec ?? undefined)
    if (budget === undefined) return
    this.#budget = budget === null ? {} : { ...this.#budget, ...budget }
    this.#arm()
    this.spentMore()
  }

  /** The orders that hold, as one. */
  get orders(): GovernOrder {
    return { paused: this.isPaused, perSec: this.#perSec ?? null, budget: this.#budget }
  }

  /** Waits until requests may be sent. Undefined: now. */
  hold(signal: AbortSignal): Promise<void> | undefined {
    return this.#pause && untilAborted(this.#pause.over, signal)
  }

  /** Waits until the next piece of an answer may come. Undefined: now. */
  pace(signal: AbortSignal): Promise<void> | undefined {
    if (this.#perSec === undefined) return undefined
    const { runtime } = this.#run
    const now = runtime.now()
    const at = Math.max(now, this.#nextAt)
    this.#nextAt = at + 1_000 / this.#perSec
    return at <= now ? undefined : this.#wait(at - now, signal)
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    let pass = (): void => {}
    const waited = new Promise<void>((resolve) => (pass = resolve))
    const timer = this.#run.runtime.setTimer(ms, pass)
    this.#waiting.add(pass)
    try {
      await untilAborted(waited, signal)
    } finally {
      timer.clear()
      this.#waiting.delete(pass)
    }
  }

  /** A piece that waits by the rate before passes now: that one may have been very low. */
  #setRate(perSec: number | undefined): void {
    this.#perSec = perSec
    this.#nextAt = 0
    for (const pass of this.#waiting) pass()
  }

  /** The run has cost something: stops it if that is more than it may. */
  spentMore(): void {
    const { tokens, cost } = this.#budget
    const spent: Usage = this.#run.spent() ?? { input: 0, output: 0 }
    if (typeof tokens === 'number' && spent.input + spent.output >= tokens)
      this.#exceeded(`its budget of ${tokens} tokens`)
    else if (typeof cost === 'number' && (spent.cost ?? 0) >= cost)
      this.#exceeded(`its budget: it cost ${spent.cost ?? 0}`)
  }

  /** Another process goes on with the run. What waits here waits on. */
  freeze(): void {
    this.#deadline?.clear()
    this.#check?.clear()
  }

  /** The run is over. */
  clear(): void {
    this.#budget = {}
    this.#arm()
    this.#resume()
  }

  #resume(): void {
    this.#pause?.end()
    this.#pause = undefined
  }

  #exceeded(what: string): void {
    this.#run.exceeded(new MillraceError('budget_exceeded', `the run has used up ${what}`))
  }

  #arm(): void {
    const { runtime, startedAt } = this.#run
    const { tokens, ms, cost } = this.#budget
    this.#deadline?.clear()
    this.#check?.clear()
    this.#deadline = this.#check = undefined
    if (typeof ms === 'number') {
      const left = Math.max(0, startedAt + ms - runtime.now())
      this.#deadline = runtime.setTimer(left, () => this.#exceeded(`its budget of ${ms} ms`))
    }
    if (typeof tokens === 'number' || typeof cost === 'number') this.#watch()
  }

  /** An answer may be long, and its usage comes at its end. */
  #watch(): void {
    this.#check = this.#run.runtime.setTimer(CHECK_MS, () => {
      this.#watch()
      this.spentMore()
    })
  }
}

function pause(): { readonly over: Promise<void>; end(): void } {
  let end = (): void => {}
  const over = new Promise<void>((resolve) => (end = resolve))
  return { over, end }
}

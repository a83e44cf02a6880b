import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

type Alarm = { readonly due: number; readonly callback: () => void; cleared: boolean }

/** Seeded chance: the same seed gives the same numbers everywhere. */
export class Chance {
  /** A number in [0, 1). */
  readonly next: () => number

  constructor(seed: number) {
    this.next = seededRandom(seed)
  }

  /** An integer from 0 to `n` - 1. */
  int(n: number): number {
    return Math.floor(this.next() * n)
  }

  /** True with probability `p`. */
  of(p: number): boolean {
    return this.next() < p
  }

  pick<T>(from: readonly T[]): T {
    return from[this.int(from.length)] as T
  }
}

/** Time and chance of a simulation: nothing happens until a test moves it, and a seed replays exactly. */
export class VirtualTime implements Runtime {
  readonly chance: Chance
  #now = 0
  /** In the order in which they are due. */
  readonly #alarms: Alarm[] = []
  #turn: (() => void)[] = []
  #turns = 0

  constructor(chance: Chance) {
    this.chance = chance
  }

  now(): number {
    return this.#now
  }

  wallClock(): number {
    return 1_700_000_000_000 + Math.floor(this.#now)
  }

  setTimer(ms: number, callback: () => void): Timer {
    const alarm: Alarm = { due: this.#now + Math.max(0, ms), callback, cleared: false }
    this.#alarms.splice(this.#placeOf(alarm.due), 0, alarm)
    return { clear: () => void (alarm.cleared = true) }
  }

  nextTurn(callback: () => void): void {
    this.#turn.push(callback)
  }

  randomBytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.chance.int(256))
  }

  random(): number {
    return this.chance.next()
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#alarms.filter((alarm) => !alarm.cleared).length
  }

  /** Turns of the event loop so far. */
  get turns(): number {
    return this.#turns
  }

  /** Runs what was left for the next turn. Returns how much that was. */
  async turn(): Promise<number> {
    const callbacks = this.#turn
    this.#turn = []
    this.#turns++
    // As Node does: what a callback of the event loop starts runs before the next one.
    for (const callback of callbacks) {
      callback()
      await microtasks()
    }
    return callbacks.length
  }

  /** Behind the alarms that are due before it, or at the same time. */
  #placeOf(due: number): number {
    let [low, high] = [0, this.#alarms.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#alarms[middle]!.due <= due) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Lets `ms` pass; timers fire in their order, and what each one starts runs before the next. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    for (;;) {
      const next = this.#alarms[0]
      if (!next || next.due > until) break
      this.#alarms.shift()
      if (next.cleared) continue
      next.cleared = true
      this.#now = Math.max(this.#now, next.due)
      next.callback()
      await microtasks()
    }
    this.#now = until
  }
}

/** Resolves when every promise that could settle has settled: Node empties the queue of promises before a tick. */
export function microtasks(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve))
}

/** Resolves when `ms` have passed by the timers of `runtime`; rejects with the reason of `signal`. */
export function pauseOf(
  runtime: Pick<Runtime, 'setTimer'>,
  signal: AbortSignal | undefined,
  ms: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = runtime.setTimer(ms, () => {
      signal?.removeEventListener('abort', stop)
      resolve()
    })
    const stop = (): void => {
      timer.clear()
      reject(signal?.reason as Error)
    }
    if (signal?.aborted) return stop()
    signal?.addEventListener('abort', stop, { once: true })
  })
}

import type { Runtime, Timer } from '../../protocol/runtime.ts'
import { nodeRuntime } from '../../server/runtime.ts'

/** A runtime whose time stands still until it is moved; turns of the event loop, and with them sockets, are real. */
export type HandClock = Runtime & {
  /** Moves time on by `ms`, and fires the timers that fall due, each at its own moment. */
  advance(ms: number): void
  /** Moves time on without giving timers the chance to fire in between: the process stood still. They fire late. */
  stall(ms: number): void
  /** Timers set and neither fired nor cleared. */
  readonly timers: number
}

export function handClock(): HandClock {
  let now = 1_000
  const timers = new Set<{ due: number; callback: () => void }>()

  function nextDue(until: number): { due: number; callback: () => void } | undefined {
    let first: { due: number; callback: () => void } | undefined
    for (const timer of timers) if (timer.due <= until && (!first || timer.due < first.due)) first = timer
    return first
  }

  function fireUntil(until: number): void {
    for (let timer = nextDue(until); timer; timer = nextDue(until)) {
      timers.delete(timer)
      now = Math.max(now, timer.due)
      timer.callback()
    }
  }

  return {
    ...nodeRuntime,
    now: () => now,
    wallClock: () => 1_700_000_000_000 + now,
    setTimer(ms, callback): Timer {
      const timer = { due: now + ms, callback }
      timers.add(timer)
      return { clear: () => void timers.delete(timer) }
    },
    advance(ms) {
      const until = now + ms
      fireUntil(until)
      now = until
    },
    stall(ms) {
      now += ms
      fireUntil(now)
    },
    get timers() {
      return timers.size
    },
  }
}

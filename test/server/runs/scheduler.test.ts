import { describe, expect, test } from 'vitest'
import { Scheduler } from '../../../server/runs/scheduler.ts'
import { nodeRuntime } from '../../../server/runtime.ts'

/** What the wall clock says when a test begins. */
const BEGAN = 1_000_000

/** A scheduler whose time stands still, and whose loop turns a test moves by hand. */
function turnsByHand() {
  let now = 0
  let due: (() => void)[] = []
  const turns = new Scheduler({
    ...nodeRuntime,
    now: () => now,
    wallClock: () => BEGAN + Math.floor(now),
    nextTurn: (callback) => void due.push(callback),
  })
  return {
    turns,
    pass: (ms: number) => void (now += ms),
    turn() {
      const callbacks = due
      due = []
      for (const callback of callbacks) callback()
    },
    get isIdle() {
      return due.length === 0
    },
  }
}

describe('the slots of the scheduler', () => {
  test('go to all in the order of their waiting, a part of them in each loop turn', () => {
    const loop = turnsByHand()
    const gone: number[] = []
    for (let n = 0; n < 100; n++) loop.turns.later(() => gone.push(n), false)
    loop.turn()
    expect(gone.length).toBeGreaterThan(0)
    expect(gone.length).toBeLessThan(100)
    while (!loop.isIdle) loop.turn()
    expect(gone).toEqual(Array.from({ length: 100 }, (_, n) => n))
  })

  test('do not queue a run that waited for something outside behind runs that never wait, nor these behind it', () => {
    const loop = turnsByHand()
    const gone: string[] = []
    const again = (who: string, first: boolean): void =>
      loop.turns.later(() => {
        gone.push(who)
        if (gone.length < 2_000) again(who, first)
      }, first)
    for (let n = 0; n < 1_000; n++) again('busy', false)
    for (let n = 0; n < 1_000; n++) again('waited', true)
    loop.turn()
    expect(new Set(gone.slice(0, 2))).toEqual(new Set(['busy', 'waited']))
    const shares = gone.filter((who) => who === 'waited').length / gone.length
    expect(shares).toBe(0.5)
  })

  test('are over after a millisecond, whichever runs are left', () => {
    const loop = turnsByHand()
    let gone = 0
    for (let n = 0; n < 5; n++)
      loop.turns.later(() => {
        gone++
        loop.pass(0.6)
      }, false)
    loop.turn()
    expect(gone).toBe(2)
    expect(loop.turns.take(1)).toBe(0)
    loop.turn()
    expect(gone).toBe(4)
    loop.turn()
    expect(gone).toBe(5)
    expect(loop.turns.take(1)).toBeGreaterThan(0)
  })
})

describe('a loop turn of the scheduler', () => {
  test('begins with the first item that is logged in it, also where no run asks for a slot', () => {
    const loop = turnsByHand()
    const { number } = loop.turns
    expect(loop.turns.wallClock).toBe(BEGAN)
    expect(loop.turns.number).toBe(number)
    loop.turn()
    expect(loop.turns.number).toBe(number + 1)
    // Nothing is logged, so there is no turn to count.
    expect(loop.isIdle).toBe(true)
  })

  test('has one time for all of its items, until a run asks for a slot', () => {
    const loop = turnsByHand()
    expect(loop.turns.wallClock).toBe(BEGAN)
    loop.pass(2)
    expect(loop.turns.wallClock).toBe(BEGAN)
    loop.turns.take(1)
    expect(loop.turns.wallClock).toBe(BEGAN + 2)
    loop.turn()
    loop.pass(3)
    expect(loop.turns.wallClock).toBe(BEGAN + 5)
  })
})

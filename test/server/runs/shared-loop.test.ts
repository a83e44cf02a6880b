import { describe, expect, test } from 'vitest'
import { Puller } from '../../../server/runs/puller.ts'
import { Scheduler } from '../../../server/runs/scheduler.ts'
import { nodeRuntime } from '../../../server/runtime.ts'

/** Actors that could always go on, on an event loop whose time passes as they say it does. */
function sharedLoop() {
  let now = 0
  let due: (() => void)[] = []
  const turns = new Scheduler({ ...nodeRuntime, now: () => now, nextTurn: (callback) => void due.push(callback) })
  return {
    /** Begins an actor that works `ms` for each item. Returns how many it has said. */
    begin(ms: number): () => number {
      let said = 0
      const never = (): never => {
        throw new Error('it never ends')
      }
      const pull = new Puller(turns, {
        item: () => pull.next(),
        resumed: () => pull.next(),
        done: never,
        failed: never,
      })
      async function* talk() {
        for (;;) {
          now += ms
          said++
          yield 'x'
        }
      }
      pull.begin(() => talk())
      pull.next()
      return () => said
    },
    /** Lets a turn pass. Returns how long it held the loop. */
    async turn(): Promise<number> {
      const began = now
      const callbacks = due
      due = []
      for (const callback of callbacks) {
        callback()
        // All that follows in microtasks comes before the next callback.
        await new Promise((resolve) => setImmediate(resolve))
      }
      return now - began
    },
  }
}

describe('runs that share the event loop', () => {
  test('send about as much as each other, however long one of them works for an item', async () => {
    const loop = sharedLoop()
    const slow = loop.begin(0.2)
    const others = Array.from({ length: 20 }, () => loop.begin(0.001))
    for (let n = 0; n < 400; n++) await loop.turn()
    const least = Math.min(...others.map((said) => said()))
    expect(slow()).toBeGreaterThan(0)
    expect(slow()).toBeLessThan(2 * least)
  })
  test('hold it for about a millisecond, or for one item that takes longer', async () => {
    const loop = sharedLoop()
    loop.begin(3)
    for (let n = 0; n < 20; n++) loop.begin(0.001)
    let longest = 0
    for (let n = 0; n < 400; n++) longest = Math.max(longest, await loop.turn())
    expect(longest).toBeLessThan(5)
  })
})

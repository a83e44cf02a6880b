import { describe, expect, test } from 'vitest'
import { actor } from '../../../server/actors/actor.ts'
import { type Flushable, FlushQueue } from '../../../server/connections/flush-queue.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'

/** A queue on a clock that stands still, and outboxes that write down when they are flushed. */
function held() {
  const clock = handClock()
  const queue = new FlushQueue(clock)
  const flushed: string[] = []
  const outbox = (name: string): Flushable & { heldUntil: number | undefined; hold(ms: number): void } => ({
    heldUntil: undefined,
    hold(ms) {
      this.heldUntil = queue.hold(this, ms)
    },
    flush() {
      this.heldUntil = undefined
      flushed.push(`${name} ${clock.now()}`)
    },
  })
  return { clock, queue, flushed, outbox }
}

describe('an outbox that is held', () => {
  test('is flushed once, at the first whole millisecond behind its time', () => {
    const { clock, flushed, outbox } = held()
    outbox('a').hold(5.2)
    clock.advance(5.9)
    expect(flushed).toEqual([])
    clock.advance(0.1)
    expect(flushed).toEqual(['a 1006'])
    clock.advance(100)
    expect(flushed).toHaveLength(1)
    expect(clock.timers).toBe(0)
  })

  test('shares the timer of its millisecond with others, and is flushed in the order in which they came', () => {
    const { clock, flushed, outbox } = held()
    for (const [name, ms] of [
      ['a', 5.1],
      ['b', 9],
      ['c', 5.6],
      ['d', 6],
    ] as const)
      outbox(name).hold(ms)
    expect(clock.timers).toBe(2)
    clock.advance(6)
    expect(flushed).toEqual(['a 1006', 'c 1006', 'd 1006'])
    clock.advance(3)
    expect(flushed.at(-1)).toBe('b 1009')
  })

  test('is left alone when it was flushed before, or is held until another time since', () => {
    const { clock, flushed, outbox } = held()
    const [gone, later] = [outbox('gone'), outbox('later')]
    gone.hold(5)
    later.hold(5)
    gone.heldUntil = undefined
    later.hold(8)
    clock.advance(5)
    expect(flushed).toEqual([])
    clock.advance(3)
    expect(flushed).toEqual(['later 1008'])
  })

  test('may be held again by its own flush', () => {
    const { clock, flushed, outbox } = held()
    const again = outbox('again')
    const flush = again.flush.bind(again)
    again.flush = () => {
      flush()
      if (flushed.length < 3) again.hold(5)
    }
    again.hold(5)
    clock.advance(15)
    expect(flushed).toEqual(['again 1005', 'again 1010', 'again 1015'])
    expect(clock.timers).toBe(0)
  })

  test('is let go by the close of the queue, which leaves no timer', () => {
    const { clock, queue, flushed, outbox } = held()
    outbox('a').hold(5)
    outbox('b').hold(500)
    queue.close()
    expect(clock.timers).toBe(0)
    clock.advance(1_000)
    expect(flushed).toEqual([])
  })
})

test('a server that has closed leaves no timer, whatever its connections held back', async () => {
  const [go, said] = [latch(), latch()]
  const chatty = actor({
    async *stream(_: unknown, { signal }) {
      yield 'a'
      await go.opened
      yield 'b'
      said.open()
      await aborted(signal)
    },
  })
  const runtime = handClock()
  await using served = await testServer({ chatty }, { runtime, limits: { heartbeatMs: 1_000_000 } })
  await using client = await served.client({ flushMs: 1_000 })
  client.start(1, 'chatty')
  await client.until(() => client.text(1) === 'a')
  const before = runtime.timers
  go.open()
  await said.opened
  await eventually(() => runtime.timers > before, 'the text is held')
  expect(client.text(1)).toBe('a')
  client.cut()
  await client.closed
  // Time stands still, except for what is due at once.
  const ticking = setInterval(() => runtime.advance(0), 1)
  await served.server.close({ drainMs: 0 })
  clearInterval(ticking)
  expect(runtime.timers).toBe(0)
})

import { describe, expect, test } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import { DEFAULT_LIMITS } from '../../../protocol/limits.ts'
import { actor } from '../../../server/actors/actor.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { counter } from '../../helpers/test-actors.ts'
import { onUws, onWs } from '../../helpers/transports.ts'

const { readAhead } = DEFAULT_LIMITS
/** Nobody is asked for a sign of life while the clock is moved. */
const LIMITS = { heartbeatMs: 86_400_000 }

describe.each([onWs, onUws])('a run with a rate, on $name,', (transport) => {
  test('is at most readAhead items beyond what the rate has let through', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: LIMITS }, transport)
    await using client = await served.client()
    client.start(1, 'count', 1_000, { rate: 5 })
    for (let through = 1; through <= 20; through++) {
      await eventually(() => count.runs[0]?.count === through + readAhead, 'the actor produces all it may')
      await client.until(() => client.count(1) === through)
      await client.settle()
      expect(count.runs[0]?.count).toBe(through + readAhead)
      runtime.advance(200)
    }
  })

  test('has not made a short answer long before it is seen', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: LIMITS }, transport)
    const client = createClient<{ count: typeof count }>(served.url, { token: 'alice' })
    const run = client.start('count', 60, { rate: 5 })
    const reader = run[Symbol.asyncIterator]()
    await reader.next()
    expect(count.runs[0]?.count).toBeLessThan(60)
    expect(served.server.liveRuns).toBe(1)
    run.throttle(null)
    while (!(await reader.next()).done);
    expect((await run.end).outcome).toBe('done')
    await client.close()
  })

  test('goes on by one item as each is let through, also without any read-ahead', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer(
      { count },
      { runtime, limits: { ...LIMITS, readAhead: 0, initialCredit: 0 } },
      transport,
    )
    await using client = await served.client()
    client.start(1, 'count', 10, { credit: 100, rate: 1 })
    for (let through = 1; through <= 10; through++) {
      await client.until(() => client.count(1) === through)
      await client.settle()
      expect(count.runs[0]?.count).toBe(through)
      runtime.advance(1_000)
    }
    expect(await client.next('end')).toMatchObject({ outcome: 'done', seq: 11 })
  })
})

describe('the rate of a pacing reader', () => {
  test('holds events of emit back as it does what is yielded', async () => {
    const runtime = handClock()
    let emitted = 0
    const emits = actor({
      async *stream(_: unknown, { emit }) {
        for (let n = 1; n <= 1_000; n++) {
          await emit({ type: 'data', name: 'n', value: n })
          emitted = n
        }
        yield* []
      },
    })
    await using served = await testServer({ emits }, { runtime, limits: LIMITS })
    await using client = await served.client()
    client.start(1, 'emits', null, { rate: 5 })
    for (let through = 1; through <= 5; through++) {
      await eventually(() => emitted === through + readAhead, 'the actor produces all it may')
      await client.settle()
      expect(emitted).toBe(through + readAhead)
      runtime.advance(200)
    }
  })

  test('counts with its credit: the run waits for the one that allows less', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: LIMITS })
    await using client = await served.client()
    client.start(1, 'count', 1_000, { credit: 3, rate: 5 })
    for (let n = 0; n < 10; n++) {
      await client.settle()
      runtime.advance(200)
    }
    await client.until(() => client.count(1) === 3)
    await client.settle()
    expect(count.runs[0]?.count).toBe(3 + readAhead)
    client.send({ kind: 'credit', sid: 1, n: 50 })
    await client.until(() => client.count(1) === 4)
    await client.settle()
    expect(count.runs[0]?.count).toBe(4 + readAhead)
  })

  test('is that of the slowest, and of no reader that does not pace', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: LIMITS })
    await using client = await served.client()
    await using observer = await served.client({ auth: 'eve' })
    client.start(1, 'count', 300, { rate: 5 })
    const { run } = await client.next('opened', 1)
    client.attach(2, run, 0, { policy: 'pace', rate: 10 })
    observer.attach(1, run, 0, { policy: 'log', rate: 1 })
    await client.next('opened', 2)
    await observer.next('opened', 1)
    for (let through = 1; through <= 5; through++) {
      await client.until(() => client.count(1) === through)
      await client.settle()
      expect(count.runs[0]?.count).toBe(through + readAhead)
      runtime.advance(200)
    }
    client.send({ kind: 'detach', sid: 1 })
    for (let through = 6; through <= 10; through++) {
      runtime.advance(100)
      await client.settle()
    }
    expect(count.runs[0]?.count).toBe(client.count(2) + readAhead)
  })

  test('does not count in the deadline of the run', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: { ...LIMITS, timeoutMs: 2_000 } })
    await using client = await served.client()
    client.start(1, 'count', 60, { rate: 5 })
    for (let n = 0; n < 70; n++) {
      await client.settle()
      runtime.advance(200)
    }
    expect(await client.next('end')).toMatchObject({ outcome: 'done', seq: 61 })
  })

  test('still bounds the run after the reader is gone, and a pause still holds it', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: LIMITS })
    await using client = await served.client()
    client.start(1, 'count', 1_000, { rate: 5 })
    client.start(2, 'count', 1_000, { credit: 10 })
    await client.until(() => client.count(1) === 1 && client.count(2) === 10)
    client.send({ kind: 'rate', sid: 2, perSec: 0 }, { kind: 'credit', sid: 2, n: 500 })
    await client.settle()
    client.cut()
    await eventually(() => served.server.connections === 0, 'the loss')
    for (let n = 0; n < 5; n++) {
      runtime.advance(1_000)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(count.runs.map((run) => run.count)).toEqual([1 + readAhead, 10 + readAhead])
  })

  test('leaves no timer behind when the reader is gone', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: LIMITS })
    await using client = await served.client()
    client.start(1, 'count', 1_000, { rate: 5 })
    client.start(2, 'count', 1_000, { credit: 1 })
    await client.until(() => client.count(1) === 1 && client.count(2) === 1)
    await client.settle()
    const before = runtime.timers
    client.send({ kind: 'detach', sid: 1 }, { kind: 'detach', sid: 2 })
    await client.settle()
    // Two clocks of detached runs have begun, and the timer of the rate is gone.
    expect(runtime.timers).toBe(before + 1)
  })
})

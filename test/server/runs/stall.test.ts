import { describe, expect, test } from 'vitest'
import { handClock } from '../../helpers/hand-clock.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { counter, silent } from '../../helpers/test-actors.ts'

const LIMITS = { heartbeatMs: 86_400_000, resumeMs: 3_600_000, timeoutMs: 3_600_000 }

describe('a run that waits for its readers', () => {
  test('waits for ever by default', async () => {
    const runtime = handClock()
    await using served = await testServer({ count: counter() }, { runtime, limits: LIMITS })
    await using client = await served.client()
    client.start(1, 'count', 1_000, { credit: 5 })
    await client.until(() => client.count(1) === 5)
    await client.settle()
    runtime.advance(20 * 3_600_000)
    await client.settle()
    expect(served.server.liveRuns).toBe(1)
  })

  test('ends as stalled after stallMs, its actor is stopped, and what it said can be read', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: { ...LIMITS, stallMs: 60_000 } })
    await using client = await served.client()
    client.start(1, 'count', 1_000, { credit: 5 })
    await client.until(() => client.count(1) === 5)
    await eventually(() => count.runs[0]?.count === 37, 'the gate')
    await client.settle()
    runtime.advance(59_999)
    await client.settle()
    expect(served.server.liveRuns).toBe(1)
    runtime.advance(1)
    expect(count.runs[0]?.aborted).toBe(true)
    await eventually(() => served.server.liveRuns === 0, 'the slot is free')
    client.send({ kind: 'credit', sid: 1, n: 100 })
    expect(await client.next('end')).toMatchObject({
      outcome: 'error',
      seq: 38,
      data: { code: 'stalled', retryable: true },
    })
  })

  test('has its whole time again after each sign of a reader, also one that does not let it go on', async () => {
    const runtime = handClock()
    await using served = await testServer(
      { count: counter() },
      { runtime, limits: { ...LIMITS, stallMs: 60_000, readAhead: 0 } },
    )
    await using client = await served.client()
    client.start(1, 'count', 1_000, { credit: 5 })
    await client.until(() => client.count(1) === 5)
    client.send({ kind: 'rate', sid: 1, perSec: 0 })
    for (let n = 0; n < 5; n++) {
      await client.settle()
      runtime.advance(50_000)
      client.send({ kind: 'credit', sid: 1, n: 1 })
    }
    await client.settle()
    expect(served.server.liveRuns).toBe(1)
    runtime.advance(60_000)
    await eventually(() => served.server.liveRuns === 0, 'it is stalled')
  })

  test('is stalled as well when its reader has gone, but not while it goes on or waits for itself', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer(
      { count, silent: silent() },
      { runtime, limits: { ...LIMITS, stallMs: 60_000 } },
    )
    await using client = await served.client()
    client.start(1, 'count', 1_000, { credit: 5 })
    client.start(2, 'silent')
    client.start(3, 'count', 1_000, { rate: 1 })
    await client.until(() => client.count(1) === 5)
    client.send({ kind: 'detach', sid: 1 })
    for (let n = 0; n < 61; n++) {
      await client.settle()
      runtime.advance(1_000)
    }
    await eventually(() => count.runs[0]?.aborted === true, 'the first is stalled')
    await eventually(() => served.server.liveRuns === 2, 'the others go on')
    expect(count.runs[1]?.aborted).toBe(false)
    expect(client.count(3)).toBeGreaterThan(50)
  })
})

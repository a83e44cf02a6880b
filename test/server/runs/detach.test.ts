import { describe, expect, test } from 'vitest'
import type { OnDetach } from '../../../protocol/frames.ts'
import { actor } from '../../../server/actors/actor.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { counted, counter, silent } from '../../helpers/test-actors.ts'

const DAY = 86_400_000
const LIMITS = { heartbeatMs: 10 * DAY }

describe('a run without readers', () => {
  test('goes on until it is as far ahead as it may be, and waits there', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: LIMITS })
    await using client = await served.client()
    client.start(1, 'count', 1_000, { credit: 20, rate: 0 })
    await client.next('opened')
    client.send({ kind: 'rate', sid: 1, perSec: 10 })
    await client.until(() => client.count(1) === 1)
    // 1 was sent, and the rate would let no other through; 32 are read ahead.
    client.cut()
    await eventually(() => served.server.connections === 0, 'the loss')
    await eventually(() => count.runs[0]?.count === 33, 'the gate')
    await new Promise((resolve) => setImmediate(resolve))
    expect(count.runs[0]?.count).toBe(33)
    expect(served.server.liveRuns).toBe(1)
  })

  test.each<[OnDetach, number | undefined, number | undefined]>([
    ['pause', undefined, 300_000],
    ['pause', 5_000, 5_000],
    ['cancel', undefined, 10_000],
    ['cancel', 20_000, 20_000],
    ['pause', 3_000_000, 300_000],
    ['continue', 1_000, undefined],
  ])('with onDetach %s and detachMs %s is cancelled after %s ms', async (onDetach, detachMs, after) => {
    const runtime = handClock()
    await using served = await testServer({ silent: silent() }, { runtime, limits: { ...LIMITS, timeoutMs: 10 * DAY } })
    await using client = await served.client()
    client.start(1, 'silent', null, { onDetach, ...(detachMs === undefined ? {} : { detachMs }) })
    const { run } = await client.next('opened')
    client.send({ kind: 'detach', sid: 1 })
    await client.settle()
    runtime.advance((after ?? DAY) - 1)
    expect(served.server.liveRuns).toBe(1)
    if (after === undefined) return
    runtime.advance(1)
    await eventually(() => served.server.liveRuns === 0, 'the cancel')
    client.attach(2, run, 0)
    expect(await client.next('end', 2)).toMatchObject({ outcome: 'cancelled', data: { code: 5, by: 'server' } })
  })

  test('lives on when its principal comes back, and has its whole time again when the client leaves', async () => {
    const runtime = handClock()
    await using served = await testServer({ silent: silent() }, { runtime, limits: LIMITS })
    await using client = await served.client()
    client.start(1, 'silent', null, { detachMs: 10_000, key: 'k' })
    const { run } = await client.next('opened')
    let sid = 1
    for (const back of ['attach', 'start'] as const) {
      client.send({ kind: 'detach', sid })
      await client.settle()
      runtime.advance(9_999)
      sid++
      if (back === 'attach') client.attach(sid, run, 0)
      else client.start(sid, 'silent', null, { key: 'k' })
      await client.next('opened', sid)
      runtime.advance(60_000)
      expect(served.server.liveRuns).toBe(1)
    }
    client.send({ kind: 'detach', sid })
    await client.settle()
    runtime.advance(9_999)
    expect(served.server.liveRuns).toBe(1)
    runtime.advance(1)
    await eventually(() => served.server.liveRuns === 0, 'the cancel')
  })

  test('continues without a gate if onDetach says so, and a late reader gets the gap', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer(
      { count },
      { runtime, limits: { ...LIMITS, maxCredit: 20, initialCredit: 20, readAhead: 4, retainEvents: 24 } },
    )
    await using client = await served.client()
    client.start(1, 'count', 500, { onDetach: 'continue', credit: 5 })
    const { run } = await client.next('opened')
    await client.until(() => client.count(1) === 5)
    client.cut()
    await eventually(() => served.server.liveRuns === 0, 'its end')
    await using back = await served.client({ client: client.client, attempt: 2 })
    back.attach(1, run, 5, { gen: 1, credit: 20 })
    expect(await back.next('gap')).toMatchObject({ from: 6, next: 477, reason: 'retention' })
    await back.until(() => back.count(1) === 20)
    back.send({ kind: 'credit', sid: 1, n: 20 })
    await back.next('end')
    expect(back.text(1)).toBe(counted(477, 500))
  })

  test('that waits for an answer keeps its time, and ends when it has waited for maxWaitMs', async () => {
    const runtime = handClock()
    const asking = actor({
      async *stream(_, { request }) {
        yield String(await request({ kind: 'text', prompt: 'which?' }))
      },
    })
    const limits = { ...LIMITS, timeoutMs: 60_000, maxWaitMs: 604_800_000 }
    await using served = await testServer({ asking }, { runtime, limits })
    await using client = await served.client()
    client.start(1, 'asking', null)
    const { run } = await client.next('opened')
    await client.next('event', 1)
    runtime.advance(50_000)
    client.send({ kind: 'detach', sid: 1 })
    await client.settle()
    // Far more than `resumeMs` and `timeoutMs`.
    runtime.advance(604_700_000)
    expect(served.server.liveRuns).toBe(1)
    runtime.advance(50_000)
    await eventually(() => served.server.liveRuns === 0, 'the deadline')
    client.attach(2, run, 0)
    expect(await client.next('end', 2)).toMatchObject({ outcome: 'error', data: { code: 'timeout' } })
  })

  test('that its pacing starter has left has an open gate while another client of the principal observes', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using starter = await served.client()
    await using tab = await served.client()
    starter.start(1, 'count', 1_000, { credit: 5 })
    const { run } = await starter.next('opened')
    await starter.until(() => starter.count(1) === 5)
    await starter.settle()
    expect(count.runs[0]?.count).toBe(37)
    tab.attach(1, run, 0, { credit: 1_900 })
    await tab.until(() => tab.count(1) === 37)
    starter.cut()
    await tab.next('end')
    expect(tab.text(1)).toBe(counted(1, 1_000))
  })

  test('keeps every item that its pacing client was not sent, however long it was away', async () => {
    const count = counter()
    await using served = await testServer(
      { count },
      { limits: { maxCredit: 20, initialCredit: 20, readAhead: 4, retainEvents: 24 } },
    )
    await using first = await served.client()
    first.start(1, 'count', 400, { credit: 20 })
    const { run } = await first.next('opened')
    await first.until(() => first.count(1) === 20)
    let from = 20
    let text = first.text(1)
    first.cut()
    for (let n = 0; n < 40 && from < 400; n++) {
      await using next = await served.client()
      next.attach(1, run, from, { gen: 1, policy: 'pace', credit: 10 })
      await next.until(() => next.count(1) === 10)
      expect(next.frames.some(({ kind }) => kind === 'gap')).toBe(false)
      text += next.text(1)
      from += 10
    }
    expect(text).toBe(counted(1, 400))
  })
})

import { describe, expect, test } from 'vitest'
import type { Limits } from '../../../protocol/limits.ts'
import { actor } from '../../../server/actors/actor.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { counted, counter } from '../../helpers/test-actors.ts'

describe('credit', () => {
  test('at zero lets nothing through, and then exactly what is granted', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.start(1, 'count', 1_000, { credit: 0 })
    expect((await client.next('opened')).credit).toBe(0)
    await client.settle()
    expect(client.count(1)).toBe(0)
    for (let granted = 7; granted <= 70; granted += 7) {
      client.send({ kind: 'credit', sid: 1, n: 7 })
      await client.until(() => client.count(1) >= granted)
      await client.settle()
      expect(client.text(1)).toBe(counted(1, granted))
    }
  })

  test.each([0, 1, 32])('lets an actor produce exactly the credit and a read-ahead of %i more', async (readAhead) => {
    const count = counter()
    await using served = await testServer({ count }, { limits: { readAhead } })
    await using client = await served.client()
    client.start(1, 'count', 10_000, { credit: 10 })
    await client.until(() => client.count(1) >= 10)
    await client.settle()
    const [run] = count.runs
    // An actor is never asked for more than was logged: it waits inside its yield.
    expect(run?.count).toBe(10 + readAhead)
    client.send({ kind: 'credit', sid: 1, n: 5 })
    await client.until(() => client.count(1) >= 15)
    await client.settle()
    expect(run?.count).toBe(15 + readAhead)
    expect(client.count(1)).toBe(15)
  })

  test('leaves a run unharmed by an unread run on the same socket', async () => {
    const unread = counter()
    const read = counter()
    await using served = await testServer({ unread, read })
    await using client = await served.client()
    client.start(1, 'unread', 10_000, { credit: 5 })
    client.start(2, 'read', 1_500, { credit: 1_900 })
    await client.next('end', 2)
    expect(client.text(2)).toBe(counted(1, 1_500))
    await client.settle()
    expect(client.count(1)).toBe(5)
    expect(unread.runs[0]?.count).toBe(5 + 32)
  })

  test('is clamped at the start and at each grant', async () => {
    const count = counter()
    await using served = await testServer({ count }, { limits: { maxCredit: 100, initialCredit: 10 } })
    await using client = await served.client()
    client.start(1, 'count', 10_000, { credit: 2 ** 53 - 1 })
    expect((await client.next('opened', 1)).credit).toBe(100)
    await client.until(() => client.count(1) === 100)
    client.send({ kind: 'credit', sid: 1, n: 2 ** 53 - 1 }, { kind: 'credit', sid: 1, n: 2 ** 53 - 1 })
    await client.until(() => client.count(1) >= 200)
    await client.settle()
    expect(client.count(1)).toBe(200)
    client.start(2, 'count', 10_000)
    expect((await client.next('opened', 2)).credit).toBe(10)
    await client.until(() => client.count(2) >= 10)
    await client.settle()
    expect(client.count(2)).toBe(10)
  })

  test('reports at once that a run has ended whose items wait for credit, and sends the end behind them', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.start(1, 'count', 20, { credit: 0 })
    const notice = await client.next('notice')
    expect(notice).toMatchObject({ code: 'settled', ref: { tag: 0x43, sid: 1, detail: 0 } })
    expect(client.frames.some(({ kind }) => kind === 'end')).toBe(false)
    client.send({ kind: 'credit', sid: 1, n: 19 })
    await client.until(() => client.count(1) === 19)
    await client.settle()
    expect(client.frames.some(({ kind }) => kind === 'end')).toBe(false)
    client.send({ kind: 'credit', sid: 1, n: 1 })
    expect(await client.next('end')).toMatchObject({ seq: 21, outcome: 'done' })
    expect(client.frames.filter(({ kind }) => kind === 'notice')).toHaveLength(1)
  })

  test('is not needed for an end that has no items before it', async () => {
    const empty = actor({ ask: () => undefined })
    await using served = await testServer({ empty })
    await using client = await served.client()
    client.start(1, 'empty', null, { credit: 0 })
    expect(await client.next('end')).toMatchObject({ seq: 1, outcome: 'done' })
  })

  test('lets one item overdraw the balance, and never falls below the floor', async () => {
    const size = 60_000
    const limits: Partial<Limits> = {}
    const large = actor({
      async *stream() {
        for (let i = 0; i < 10; i++) yield { type: 'data' as const, name: 'x', value: 'y'.repeat(size) }
      },
    })
    await using served = await testServer({ large }, { limits })
    await using client = await served.client()
    client.start(1, 'large', null, { credit: 1 })
    const first = await client.next('event')
    const cost = Math.ceil((size + 16) / 1_024)
    expect(first.cost).toBe(cost)
    await client.settle()
    expect(client.count(1)).toBe(1)
    // One short of what was overdrawn: nothing. One more: the next.
    client.send({ kind: 'credit', sid: 1, n: cost - 1 })
    await client.settle()
    expect(client.count(1)).toBe(1)
    client.send({ kind: 'credit', sid: 1, n: 1 })
    await client.until(() => client.count(1) === 2)
    await client.settle()
    expect(client.count(1)).toBe(2)
  })

  test('begins at zero again where a subscription resumes with zero', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using first = await served.client()
    first.start(1, 'count', 1_000, { credit: 10 })
    const { run, gen } = await first.next('opened')
    await first.until(() => first.count(1) === 10)
    first.cut()
    await using second = await served.client()
    second.attach(1, run, 10, { gen, credit: 0, policy: 'pace' })
    expect(await second.next('opened')).toMatchObject({ next: 11, credit: 0 })
    await second.settle()
    expect(second.count(1)).toBe(0)
    second.send({ kind: 'credit', sid: 1, n: 3 })
    await second.until(() => second.count(1) === 3)
    await second.settle()
    expect(second.text(1)).toBe(counted(11, 13))
    expect(count.runs[0]?.count).toBe(13 + 32)
  })

  test('at zero does not delay the end of a cancelled stream, which skips the unsent items', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.start(1, 'count', 1_000, { credit: 0 })
    await client.next('opened')
    await eventually(() => count.runs[0]?.count === 32, '32 items ahead')
    client.send({ kind: 'cancel', sid: 1, code: 1 })
    expect(await client.next('end')).toMatchObject({ seq: 33, outcome: 'cancelled', data: { kept: 32, code: 1 } })
    expect(client.count(1)).toBe(0)
  })

  test('costs the same however items are joined', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.start(1, 'count', 100, { credit: 40, policy: 'merge' })
    await client.until(() => client.count(1) === 40)
    await client.settle()
    expect(client.count(1)).toBe(40)
    expect(client.text(1)).toBe(counted(1, 40))
    client.send({ kind: 'credit', sid: 1, n: 60 })
    await client.next('end')
    expect(client.text(1)).toBe(counted(1, 100))
    const merged = client.frames.filter((frame) => frame.kind === 'delta' && frame.count !== undefined)
    expect(merged.length).toBeGreaterThan(0)
  })
})

import { describe, expect, test } from 'vitest'
import { actor } from '../../../server/actors/actor.ts'
import { countOf } from '../../helpers/frame-items.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { testServer } from '../../helpers/server.ts'
import { counted, counter, latch } from '../../helpers/test-actors.ts'

describe('policies', () => {
  test('let an observer that reads nothing slow neither the run nor its starter', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using starter = await served.client()
    await using observer = await served.client()
    starter.start(1, 'count', 1_500, { credit: 0 })
    const { run } = await starter.next('opened')
    for (const [i, policy] of (['log', 'merge', 'latest'] as const).entries())
      observer.attach(i + 1, run, 0, { policy, credit: 3 })
    for (const sid of [1, 2, 3]) await observer.next('opened', sid)
    starter.send({ kind: 'credit', sid: 1, n: 1_900 })
    await starter.next('end')
    expect(starter.text(1)).toBe(counted(1, 1_500))
    await observer.settle()
    expect(observer.count(1)).toBe(3)
    expect(observer.count(2)).toBe(3)
  })

  test('let the slower of two pacing readers hold the actor', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using fast = await served.client()
    await using slow = await served.client()
    fast.start(1, 'count', 1_000, { credit: 0 })
    const { run } = await fast.next('opened')
    slow.attach(1, run, 0, { policy: 'pace', credit: 5 })
    await slow.next('opened')
    fast.send({ kind: 'credit', sid: 1, n: 500 })
    await fast.until(() => fast.count(1) === 37)
    await slow.settle()
    await fast.settle()
    expect(count.runs[0]?.count).toBe(37)
    // Its leaving frees the other.
    slow.send({ kind: 'detach', sid: 1 })
    await fast.until(() => fast.count(1) === 500)
    await fast.settle()
    expect(count.runs[0]?.count).toBe(532)
  })

  test('join with merge the waiting texts, lane by lane, and count them', async () => {
    const release = latch()
    const mixed = actor({
      async *stream() {
        yield 'a'
        yield 'b'
        yield { type: 'thinking' as const, text: 'c' }
        yield { type: 'thinking' as const, text: 'd' }
        yield { type: 'progress' as const, current: 1 }
        yield 'e'
        await release.opened
        yield 'f'
      },
    })
    await using served = await testServer({ mixed })
    await using client = await served.client()
    client.start(1, 'mixed', null, { credit: 0 })
    const { run } = await client.next('opened')
    client.attach(2, run, 0, { policy: 'merge' })
    await client.until(() => client.count(2) === 8)
    release.open()
    await client.settle()
    client.send({ kind: 'credit', sid: 1, n: 100 })
    await client.next('end', 1)
    await client.next('end', 2)
    const plain = client.items(1)
    const merged = client.items(2)
    expect(client.text(2)).toBe(client.text(1))
    expect(client.count(2)).toBe(client.count(1))
    // Joined text never crosses an event or a lane.
    const joined = client.frames.filter(
      (frame) => frame.kind === 'delta' && frame.sid === 2 && frame.count !== undefined,
    )
    for (const frame of joined) {
      if (frame.kind !== 'delta') continue
      const { seq, count = 1, lane, body } = frame
      const texts = plain.filter((item) => item.seq >= seq && item.seq < seq + count)
      expect(texts.map((item) => item.text).join('')).toBe(body)
      expect(texts.every((item) => item.lane === lane)).toBe(true)
    }
    expect(joined.length).toBeGreaterThan(0)
    expect(merged.length).toBeLessThan(plain.length)
  })

  test('skip with latest to the newest item and report the gap', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.start(1, 'count', 100, { credit: 0 })
    const { run } = await client.next('opened', 1)
    await client.settle()
    client.attach(2, run, 0, { policy: 'latest' })
    expect(await client.next('gap', 2)).toMatchObject({ from: 1, next: 32, reason: 'policy' })
    await client.until(() => client.count(2) === 1)
    expect(client.text(2)).toBe('32 ')
    client.send({ kind: 'credit', sid: 1, n: 200 })
    await client.next('end', 2)
    expect(client.items(2).at(-1)).toMatchObject({ seq: 100, text: '100 ' })
    // Items and gaps together leave nothing out and repeat nothing.
    let next = 1
    for (const frame of client.frames) {
      if (!('sid' in frame) || frame.sid !== 2) continue
      if (frame.kind === 'gap') {
        expect(frame.from).toBe(next)
        next = frame.next
      } else if (frame.kind === 'delta') {
        expect(frame.seq).toBe(next)
        next += countOf(frame)
      }
    }
    expect(next).toBe(101)
  })

  test('send the open lanes of a GAP no more often than 64 credits a second would pay for', async () => {
    const runtime = handClock()
    const more: (() => void)[] = []
    const lanes = actor({
      async *stream() {
        for (let n = 0; n < 24; n++) yield { type: 'thinking' as const, text: 'x', agent: `${n} ${'a'.repeat(1_000)}` }
        for (let n = 1; ; n++) {
          await new Promise<void>((resolve) => more.push(resolve))
          yield `a${n} `
          yield `b${n} `
        }
      },
    })
    await using served = await testServer({ lanes }, { runtime })
    await using client = await served.client()
    client.start(1, 'lanes', null, { policy: 'log' })
    const { run } = await client.next('opened', 1)
    await client.until(() => more.length === 1)
    client.attach(2, run, null, { policy: 'latest', credit: 1_000 })
    await client.next('opened', 2)
    const gaps = (): number => client.frames.filter((frame) => frame.kind === 'gap' && frame.sid === 2).length
    for (let n = 1; n <= 10; n++) {
      const before = client.count(1)
      more.pop()?.()
      await client.until(() => client.count(1) === before + 2 && more.length === 1)
      await client.settle()
    }
    expect(gaps()).toBe(1)
    expect(client.items(2).at(-1)).toMatchObject({ text: 'b1 ' })
    runtime.advance(400)
    await client.until(() => gaps() === 2)
    await client.until(() => client.items(2).at(-1)?.text === 'b10 ')
  })

  test('give a client that asks for times the time of each item', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    const before = Date.now()
    client.start(1, 'count', 40, { ts: true, policy: 'merge' })
    await client.next('end')
    for (const frame of client.frames) {
      if (frame.kind !== 'delta') continue
      expect(frame.ts).toBeGreaterThanOrEqual(before)
      expect(frame.ts).toBeLessThanOrEqual(Date.now())
    }
    expect(client.text(1)).toBe(counted(1, 40))
  })
})

describe('a rate', () => {
  test('of 0 pauses at once and closes the gate, and nil lifts it', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.start(1, 'count', 1_000, { credit: 100, rate: 0 })
    await client.next('opened')
    await client.settle()
    expect(client.count(1)).toBe(0)
    // Nothing was produced either: a paused reader holds the actor.
    expect(count.runs[0]?.count ?? 0).toBe(0)
    client.send({ kind: 'rate', sid: 1, perSec: null })
    await client.until(() => client.count(1) === 100)
    client.send({ kind: 'rate', sid: 1, perSec: 0 }, { kind: 'credit', sid: 1, n: 100 })
    await client.settle()
    expect(client.count(1)).toBe(100)
    expect(count.runs[0]?.count).toBe(132)
    client.send({ kind: 'rate', sid: 1, perSec: null })
    await client.until(() => client.count(1) === 200)
  })

  test('never replaces credit', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.start(1, 'count', 1_000, { credit: 3, rate: 100_000 })
    await client.until(() => client.count(1) === 3)
    client.send({ kind: 'rate', sid: 1, perSec: null })
    await client.settle()
    expect(client.count(1)).toBe(3)
  })

  test.each([1, 10, 200])(
    'of %i a second gives a tenth of a second at once, at least one, and the rest as time goes',
    async (perSec) => {
      const runtime = handClock()
      const count = counter()
      await using served = await testServer({ count }, { runtime })
      await using client = await served.client()
      client.start(1, 'count', 1_000, { credit: 1_000, rate: perSec })
      const burst = Math.max(1, perSec / 10)
      await client.until(() => client.count(1) >= burst)
      await client.settle()
      expect(client.count(1)).toBe(burst)
      for (let ms = 0; ms < 3_000; ms += 100) {
        runtime.advance(100)
        await client.settle()
        const allowed = burst + Math.floor(((ms + 100) * perSec) / 1_000)
        expect(client.count(1)).toBeLessThanOrEqual(allowed)
        expect(client.count(1)).toBeGreaterThanOrEqual(allowed - 1)
      }
    },
  )

  test('of 0 lets an end without items before it through', async () => {
    const { half, open } = endsWhenTold()
    await using served = await testServer({ half })
    await using client = await served.client()
    client.start(1, 'half')
    await client.until(() => client.count(1) === 1)
    client.send({ kind: 'rate', sid: 1, perSec: 0 })
    await client.settle()
    open()
    expect(await client.next('end')).toMatchObject({ outcome: 'done', seq: 2 })
  })
})

function endsWhenTold(): { half: ReturnType<typeof actor>; open: () => void } {
  const gate = latch()
  const half = actor({
    async *stream() {
      yield 'x'
      await gate.opened
    },
  })
  return { half, open: gate.open }
}

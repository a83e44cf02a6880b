import { describe, expect, test } from 'vitest'
import { actor } from '../../../server/actors/actor.ts'
import { capturedRuns } from '../../helpers/captured-runs.ts'
import { testServer } from '../../helpers/server.ts'
import { counted, counter, latch } from '../../helpers/test-actors.ts'

/** The least that the limits allow to be kept. */
const SMALL = { maxCredit: 20, initialCredit: 20, readAhead: 4, retainEvents: 24 }

/** Says `before` items, waits for the test, says `after` more. */
function twoHalves(before: number, after: number): { half: ReturnType<typeof actor>; open: () => void } {
  const gate = latch()
  const half = actor({
    async *stream() {
      for (let n = 1; n <= before; n++) yield `${n} `
      await gate.opened
      for (let n = before + 1; n <= before + after; n++) yield `${n} `
    },
  })
  return { half, open: gate.open }
}

describe('resuming', () => {
  test('gives each item once: up to the cut, and from behind it', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using first = await served.client()
    first.start(1, 'count', 100, { credit: 36 })
    const { run, gen } = await first.next('opened')
    await first.until(() => first.count(1) === 36)
    first.cut()
    await using second = await served.client({
      client: first.client,
      attempt: 2,
      with: [{ kind: 'attach', sid: 1, run, after: 36, options: { gen, credit: 256, policy: 'pace' } }],
    })
    expect(await second.next('opened')).toMatchObject({ next: 37, gen: 1, credit: 256 })
    await second.next('end')
    expect(second.text(1)).toBe(counted(37, 100))
    expect(second.frames.some(({ kind }) => kind === 'gap')).toBe(false)
    expect(count.runs).toHaveLength(1)
  })

  test('reads an ended run again from the first, from the middle, and from behind the last', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.start(1, 'count', 50)
    const { run } = await client.next('opened')
    await client.next('end')
    client.attach(2, run, 0)
    client.attach(3, run, 49, { gen: 1 })
    client.attach(4, run, 50, { gen: 1 })
    client.attach(5, run, null)
    for (const [sid, text] of [
      [2, counted(1, 50)],
      [3, '50 '],
      [4, ''],
      [5, ''],
    ] as const) {
      expect(await client.next('end', sid)).toMatchObject({ seq: 51, outcome: 'done' })
      expect(client.text(sid)).toBe(text)
    }
  })

  test('live begins behind the items so far', async () => {
    const { half, open } = twoHalves(10, 5)
    await using served = await testServer({ half })
    await using client = await served.client()
    client.start(1, 'half')
    const { run } = await client.next('opened')
    await client.until(() => client.count(1) === 10)
    client.attach(2, run, null)
    expect(await client.next('opened', 2)).toMatchObject({ next: 11, gen: 1 })
    open()
    await client.next('end', 2)
    expect(client.text(2)).toBe(counted(11, 15))
  })

  test('reports the items that retention has given up, and goes on behind them', async () => {
    const { half, open } = twoHalves(20, 80)
    await using served = await testServer({ half }, { limits: SMALL })
    await using client = await served.client()
    client.start(1, 'half', null, { policy: 'log', credit: 20 })
    const { run } = await client.next('opened')
    await client.until(() => client.count(1) === 20)
    open()
    await client.next('notice')
    client.attach(2, run, 0)
    expect(await client.next('opened', 2)).toMatchObject({ next: 77 })
    expect(await client.next('gap', 2)).toMatchObject({ from: 1, next: 77, reason: 'retention', gen: 1 })
    client.send({ kind: 'credit', sid: 2, n: 10 })
    await client.until(() => client.count(2) >= 20)
    expect(client.items(2)[0]).toMatchObject({ seq: 77, text: '77 ' })
    // The subscription that was left behind gets the same report.
    client.send({ kind: 'credit', sid: 1, n: 20 })
    expect(await client.next('gap', 1)).toMatchObject({ from: 21, next: 77, reason: 'retention' })
    await client.until(() => client.count(1) >= 40)
    client.send({ kind: 'credit', sid: 1, n: 20 })
    await client.next('end', 1)
    expect(client.text(1)).toBe(counted(1, 20) + counted(77, 100))
  })

  test('finds every item that a pacing client was not sent', async () => {
    const count = counter()
    await using served = await testServer({ count }, { limits: SMALL })
    await using client = await served.client()
    client.start(1, 'count', 300, { credit: 3 })
    for (let have = 3; have < 300; have = client.count(1)) {
      await client.until(() => client.count(1) >= have)
      client.send({ kind: 'credit', sid: 1, n: 7 })
      await client.until(() => client.count(1) >= Math.min(300, have + 7))
    }
    await client.next('end')
    expect(client.text(1)).toBe(counted(1, 300))
  })

  test('ignores a position beyond the log, and one of an unknown generation', async () => {
    const { half, open } = twoHalves(10, 2)
    await using served = await testServer({ half })
    await using client = await served.client()
    client.start(1, 'half')
    const { run } = await client.next('opened')
    await client.until(() => client.count(1) === 10)
    client.attach(2, run, 11, { gen: 1 })
    expect(await client.next('gap', 2)).toMatchObject({ from: 1, next: 1, reason: 'store_lost', gen: 1 })
    client.attach(3, run, 5, { gen: 9 })
    expect(await client.next('gap', 3)).toMatchObject({ from: 1, next: 1, reason: 'store_lost', gen: 1 })
    // A client that holds no item holds a life all the same.
    client.attach(4, run, 0, { gen: 9 })
    expect(await client.next('gap', 4)).toMatchObject({ from: 1, next: 1, reason: 'store_lost', gen: 1 })
    open()
    for (const sid of [2, 3, 4]) {
      await client.next('end', sid)
      expect(client.text(sid)).toBe(counted(1, 12))
      expect(client.frames.filter((frame) => frame.kind === 'gap' && frame.sid === sid)).toHaveLength(1)
    }
  })

  test('reports in one gap an unknown life and the items that retention has given up', async () => {
    const count = counter()
    await using served = await testServer({ count }, { limits: SMALL })
    await using client = await served.client()
    client.start(1, 'count', 100, { policy: 'log', credit: 0 })
    const { run } = await client.next('opened')
    await client.next('notice')
    client.attach(2, run, 0)
    const { next } = await client.next('gap', 2)
    expect(next).toBeGreaterThan(1)
    client.attach(3, run, 0, { gen: 9 })
    expect(await client.next('opened', 3)).toMatchObject({ next, gen: 1 })
    await client.until(() => client.count(3) > 0)
    client.send({ kind: 'credit', sid: 3, n: 20 })
    await client.next('end', 3)
    expect(client.frames.filter((frame) => frame.kind === 'gap' && frame.sid === 3)).toMatchObject([
      { from: 1, next, reason: 'store_lost', gen: 1 },
    ])
    expect(client.text(3)).toBe(counted(next, 100))
  })
})

describe('another life of a log', () => {
  /** A run that has sent 1 to 10 and waits. `live` begins another life. */
  async function halfway(after = 5) {
    const { half, open } = twoHalves(10, after)
    const captured = capturedRuns()
    const served = await testServer({ half })
    const client = await served.client()
    client.start(1, 'half')
    const { run } = await client.next('opened')
    await client.until(() => client.count(1) === 10)
    return {
      run,
      client,
      open,
      live: (first: number) => captured.newest.newLife(first),
      async [Symbol.asyncDispose]() {
        captured[Symbol.dispose]()
        await client[Symbol.asyncDispose]()
        await served[Symbol.asyncDispose]()
      },
    }
  }

  test('is reported before its first item, also when nothing is missing', async () => {
    await using scene = await halfway()
    const { client } = scene
    scene.live(11)
    expect(await client.next('gap')).toMatchObject({ from: 11, next: 11, reason: 'rewound', gen: 2 })
    scene.open()
    await client.next('end')
    expect(client.items(1).map(({ seq }) => seq)).toEqual(Array.from({ length: 15 }, (_, i) => i + 1))
  })

  test('takes back the items that it does not hold, and counts on from there', async () => {
    await using scene = await halfway()
    const { client } = scene
    scene.live(8)
    expect(await client.next('gap')).toMatchObject({ from: 8, next: 8, reason: 'rewound', gen: 2 })
    scene.open()
    expect(await client.next('end')).toMatchObject({ seq: 13 })
    expect(client.items(1).map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 8, 9, 10, 11, 12])
  })

  test('is reported before the end, when it has no item', async () => {
    await using scene = await halfway(0)
    const { client } = scene
    scene.live(11)
    scene.open()
    expect(await client.next('end')).toMatchObject({ seq: 11, outcome: 'done' })
    expect(client.frames.slice(-2).map(({ kind }) => kind)).toEqual(['gap', 'end'])
  })

  test('is reported to a client that resumes at a position of the old one', async () => {
    await using scene = await halfway()
    const { client, run } = scene
    scene.live(8)
    scene.open()
    await client.next('end', 1)
    // Before what was taken back: the old items, then the passage.
    client.attach(2, run, 5, { gen: 1 })
    expect(await client.next('opened', 2)).toMatchObject({ next: 6, gen: 1 })
    await client.next('end', 2)
    expect(client.items(2).map(({ seq }) => seq)).toEqual([6, 7, 8, 9, 10, 11, 12])
    expect(client.frames.filter((frame) => frame.kind === 'gap' && frame.sid === 2)).toMatchObject([
      { from: 8, next: 8, reason: 'rewound', gen: 2 },
    ])
    // Within it: void from there on.
    client.attach(3, run, 10, { gen: 1 })
    expect(await client.next('gap', 3)).toMatchObject({ from: 8, next: 8, reason: 'rewound', gen: 2 })
    await client.next('end', 3)
    expect(client.items(3).map(({ seq }) => seq)).toEqual([8, 9, 10, 11, 12])
    // The same number in the new life is what it says.
    client.attach(4, run, 10, { gen: 2 })
    await client.next('end', 4)
    expect(client.items(4).map(({ seq }) => seq)).toEqual([11, 12])
    // Without a life, the position is one of the oldest.
    client.attach(5, run, 10)
    expect(await client.next('gap', 5)).toMatchObject({ next: 8, reason: 'rewound', gen: 2 })
    await client.next('end', 5)
  })

  test('that begins with the first item is reported to a client that names the old one and holds no item', async () => {
    await using scene = await halfway()
    const { client, run } = scene
    scene.live(1)
    client.attach(2, run, 0, { gen: 1 })
    expect(await client.next('gap', 2)).toMatchObject({ from: 1, next: 1, reason: 'rewound', gen: 2 })
    // Without a life there is nothing to pass from.
    client.attach(3, run, 0)
    expect(await client.next('opened', 3)).toMatchObject({ next: 1, gen: 2 })
    scene.open()
    for (const sid of [2, 3]) {
      await client.next('end', sid)
      expect(client.items(sid).map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5])
    }
    expect(client.frames.some((frame) => frame.kind === 'gap' && frame.sid === 3)).toBe(false)
  })

  test('that reaches back behind an earlier one takes a position of the oldest with it', async () => {
    await using scene = await halfway()
    const { client, run } = scene
    scene.live(9)
    scene.live(5)
    client.attach(2, run, 7, { gen: 1 })
    expect(await client.next('gap', 2)).toMatchObject({ from: 5, next: 5, reason: 'rewound', gen: 3 })
    scene.open()
    await client.next('end', 2)
    expect(client.items(2).map(({ seq }) => seq)).toEqual([5, 6, 7, 8, 9])
    expect(client.frames.filter((frame) => frame.kind === 'gap' && frame.sid === 2)).toHaveLength(1)
  })

  test('reaches a client that stands in the middle without credit', async () => {
    const { half, open } = twoHalves(10, 5)
    using captured = capturedRuns()
    await using served = await testServer({ half })
    await using client = await served.client()
    client.start(1, 'half', null, { credit: 6 })
    await client.until(() => client.count(1) === 6)
    captured.newest.newLife(9)
    captured.newest.newLife(5)
    // Void at once, though it has no credit for anything.
    expect(await client.next('gap')).toMatchObject({ from: 5, next: 5, gen: 3 })
    open()
    await client.settle()
    expect(client.count(1)).toBe(6)
    client.send({ kind: 'credit', sid: 1, n: 100 })
    await client.next('end')
    expect(client.items(1).map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 5, 6, 7, 8, 9])
  })
})

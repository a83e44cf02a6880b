import { setImmediate as macrotask } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createClient, type SmoothOptions, smooth } from '../../client-sdk/node.ts'
import { actor } from '../../server/actors/actor.ts'
import { readAll } from '../helpers/read-all.ts'
import { testServer } from '../helpers/server.ts'
import { aborted, counted, counter, latch } from '../helpers/test-actors.ts'
import { repetitions } from '../helpers/tier.ts'
import { Chance, microtasks, VirtualTime } from '../simulation/virtual-time.ts'

type Arrival = { afterMs: number; text: string }

/** A source in virtual time, and what `smooth` makes of it. */
function smoothing(options: SmoothOptions = {}) {
  const time = new VirtualTime(new Chance(1))
  const given: (IteratorResult<string, undefined> | Error)[] = []
  const waiting: (() => void)[] = []
  const source = { asked: 0, returned: 0 }
  const texts: AsyncIterableIterator<string, undefined> = {
    async next() {
      source.asked++
      while (given.length === 0) await new Promise<void>((resolve) => waiting.push(resolve))
      const one = given.shift()!
      if (one instanceof Error) throw one
      return one
    },
    async return() {
      source.returned++
      return { value: undefined, done: true }
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
  const give = async (one: (typeof given)[number]): Promise<void> => {
    given.push(one)
    for (const wake of waiting.splice(0)) wake()
    await microtasks()
  }
  const pieces = smooth(texts, { runtime: time, ...options })
  const seen: { text: string; at: number }[] = []
  return {
    time,
    source,
    pieces,
    /** What came out so far, and when. */
    seen,
    text: () => seen.map(({ text }) => text).join(''),
    say: (text: string) => give({ value: text, done: false }),
    end: () => give({ value: undefined, done: true }),
    fail: (error: Error) => give(error),
    /** Reads all the time. */
    async read(): Promise<void> {
      for await (const text of pieces) seen.push({ text, at: time.now() })
    },
  }
}

const letters = (length: number): string =>
  Array.from({ length }, (_, n) => String.fromCharCode(97 + (n % 26))).join('')

/** Whether no half of a surrogate pair stands alone in it. */
const isWhole = (text: string): boolean => !/\p{Surrogate}/u.test(text)

describe('text that comes in small tokens', () => {
  test('comes in pieces of at least 10 characters, 50 ms apart', async () => {
    const { time, say, read, seen } = smoothing()
    void read()
    for (let n = 0; n < 50; n++) {
      await say('ab')
      await time.advance(10)
    }
    expect(seen.length).toBeGreaterThan(8)
    for (const [n, { text, at }] of seen.entries()) {
      expect(text).toHaveLength(10)
      if (n > 0) expect(at - seen[n - 1]!.at).toBe(50)
    }
  })

  test('is 100 ms late at most, also when there is little of it', async () => {
    const { time, say, read, seen } = smoothing()
    void read()
    await say('a')
    await time.advance(60)
    await say('b')
    await time.advance(39)
    expect(seen).toEqual([])
    await time.advance(1)
    expect(seen).toEqual([{ text: 'ab', at: 100 }])
  })
})

describe('text that comes in a lump', () => {
  test('is spread over some frames: half of the rest each time, and all within 100 ms', async () => {
    const { time, say, read, seen } = smoothing()
    void read()
    await say(letters(400))
    await time.advance(200)
    expect(seen.map(({ text }) => text.length)).toEqual([200, 100, 50, 25, 13, 12])
    const gaps = seen.slice(1).map(({ at }, n) => Math.round(at - seen[n]!.at))
    expect(gaps).toEqual([17, 17, 17, 20, 30])
    expect(seen.at(-1)!.at).toBe(100)
  })

  test('comes the faster the more there is', async () => {
    const rates: number[] = []
    for (const tokens of [1, 4, 16]) {
      const { time, say, read, seen } = smoothing()
      void read()
      for (let n = 0; n < 50; n++) {
        await say(letters(3 * tokens))
        await time.advance(10)
      }
      rates.push(seen.length)
      expect(seen.length).toBeLessThanOrEqual(500 / (50 / 3) + 1)
    }
    expect(rates).toEqual(rates.toSorted((a, b) => a - b))
    expect(rates[2]).toBeGreaterThan(2 * rates[0]!)
  })
})

describe('the end', () => {
  test('brings the rest at once, in one piece', async () => {
    const { time, say, end, read, seen } = smoothing()
    const reading = read()
    await say(letters(100))
    await say('!')
    await end()
    await reading
    expect(seen.map(({ text, at }) => [text.length, at])).toEqual([
      [50, 0],
      [51, 0],
    ])
    expect(time.pending).toBe(0)
  })

  test('of no text at all is an end', async () => {
    const { end, read, seen } = smoothing()
    const reading = read()
    await end()
    await reading
    expect(seen).toEqual([])
  })

  test('by an error comes after what was read before it', async () => {
    const { say, fail, read, text, pieces } = smoothing()
    const failure = new Error('lost')
    const rejected = expect(read()).rejects.toBe(failure)
    await say('abc')
    await fail(failure)
    await rejected
    expect(text()).toBe('abc')
    expect(await pieces.next()).toEqual({ value: undefined, done: true })
  })
})

describe('leaving the loop', () => {
  test('leaves the source at once and no timer behind, also while both wait', async () => {
    const { time, say, source, pieces } = smoothing()
    const next = pieces.next()
    await say('abc')
    expect(time.pending).toBe(1)
    await pieces.return?.()
    expect(await next).toEqual({ value: undefined, done: true })
    expect([source.returned, time.pending]).toEqual([1, 0])
    await say('late')
    expect(await pieces.next()).toEqual({ value: undefined, done: true })
    expect(time.pending).toBe(0)
  })

  test('does not wait for a source that is in the middle of something', async () => {
    async function* stuck(): AsyncGenerator<string, undefined> {
      yield letters(10)
      await new Promise(() => {})
    }
    for await (const text of smooth(stuck())) {
      expect(text).toBe(letters(10))
      break
    }
  })

  test('after the end of the source leaves it alone', async () => {
    const { say, end, source, pieces } = smoothing()
    const next = pieces.next()
    await say(letters(40))
    await next
    await end()
    await pieces.return?.()
    expect(source.returned).toBe(0)
  })

  test('before the first piece leaves a source that was never asked', async () => {
    const { source, pieces } = smoothing()
    await pieces.return?.()
    expect(source).toEqual({ asked: 0, returned: 1 })
  })
})

describe('a consumer that does not ask', () => {
  test('has as much read ahead as may wait and no more, and loses nothing', async () => {
    const { time, say, end, source, pieces, read, text } = smoothing({ maxChars: 100 })
    const first = pieces.next()
    await say(letters(20))
    const { value: begin } = await first
    const asked = source.asked
    for (let n = 0; n < 30; n++) await say(letters(10))
    await time.advance(1_000)
    // 10 wait already, and one text was asked for: with 8 more of them there are 100.
    expect(source.asked - asked).toBe(8)
    expect(time.pending).toBe(0)
    const reading = read()
    await microtasks()
    expect(source.asked - asked).toBeGreaterThan(8)
    await end()
    await time.advance(1_000)
    await reading
    expect(`${begin}${text()}`).toBe(letters(20) + letters(10).repeat(30))
  })

  test('gets late text in one piece', async () => {
    const { time, say, pieces } = smoothing()
    const first = pieces.next()
    await say(letters(10))
    await first
    for (let n = 0; n < 100; n++) await say(letters(10))
    await time.advance(100)
    expect(await pieces.next()).toMatchObject({ value: letters(10).repeat(100) })
  })
})

describe('a surrogate pair', () => {
  test('is not cut, wherever half of the rest would end', async () => {
    const { time, say, read, seen, text } = smoothing()
    void read()
    const odd = `a${'😀'.repeat(60)}`
    await say(odd)
    await time.advance(200)
    expect(text()).toBe(odd)
    expect(seen.every((piece) => isWhole(piece.text))).toBe(true)
    expect(seen.length).toBeGreaterThan(3)
  })

  test('that the source has cut is put together', async () => {
    const { time, say, read, seen } = smoothing()
    void read()
    await say('a\ud83d')
    await time.advance(500)
    expect(seen.map((piece) => piece.text)).toEqual(['a'])
    await say('\ude00')
    await time.advance(500)
    expect(seen.map((piece) => piece.text)).toEqual(['a', '😀'])
  })

  test('whose second half never comes is given as it is at the end', async () => {
    const { say, end, read, text } = smoothing({ maxChars: 1 })
    const reading = read()
    await say('\ud83d')
    await end()
    await reading
    expect(text()).toBe('\ud83d')
  })
})

test('smooth answers several calls of next at once in their order', async () => {
  const { time, say, pieces } = smoothing()
  const calls = [pieces.next(), pieces.next(), pieces.next()]
  await say(letters(30))
  await time.advance(200)
  const values = (await Promise.all(calls)).map(({ value }) => value)
  expect(values.join('')).toBe(letters(30))
})

test('text that waits for a slow consumer costs each token the same, however much of it waits', async () => {
  const tokens = 120_000
  let given = 0
  async function* source(): AsyncGenerator<string, undefined> {
    for (; given < tokens; given++) yield 'abcd'
    return undefined
  }
  const pieces = smooth(source())
  const before = performance.now()
  const first = await pieces.next()
  while (given < tokens) await macrotask()
  const ms = performance.now() - before
  console.log(`${tokens} tokens, read while the consumer waits: ${ms.toFixed(0)} ms`)
  // It takes 60 ms. With a copy of all that waits for each token, it took 20 s.
  expect(ms).toBeLessThan(4_000)
  expect(first.value?.length ?? 0).toBeLessThan(100)
  await pieces.return?.()
})

test.each([{ flushMs: -1 }, { flushMs: Number.NaN }, { maxDelayMs: -1 }, { minChars: 0 }, { maxChars: 0 }])(
  'smooth refuses options that could not work: %o',
  (options) => {
    expect(() => smoothing(options)).toThrow(expect.objectContaining({ code: 'bad_request' }))
  },
)

const runs = repetitions({ quick: 100, full: 10_000 })

test(`smooth loses nothing of ${runs} random texts, and no piece is late, too small or too frequent`, {
  timeout: 300_000,
}, async () => {
  const arrivals = fc.array(
    fc.record({
      afterMs: fc.oneof(fc.nat(8), fc.nat(300)),
      text: fc.oneof(fc.string({ unit: 'binary', maxLength: 6 }), fc.nat(400).map(letters)),
    }),
    { maxLength: 30 },
  )
  await fc.assert(
    fc.asyncProperty(arrivals, fc.boolean(), async (all: Arrival[], fails: boolean) => {
      const { time, say, end, fail, read, seen, text } = smoothing()
      const failure = new Error('lost')
      const reading = read().catch((error: unknown) => error)
      /** When each character came. */
      const cameAt: number[] = []
      for (const arrival of all) {
        await time.advance(arrival.afterMs)
        for (let n = 0; n < arrival.text.length; n++) cameAt.push(time.now())
        await say(arrival.text)
      }
      const endedAt = time.now()
      await (fails ? fail(failure) : end())
      expect(await reading).toBe(fails ? failure : undefined)
      expect(text()).toBe(all.map((arrival) => arrival.text).join(''))
      expect(time.pending).toBe(0)
      let given = 0
      let before = Number.NEGATIVE_INFINITY
      for (const piece of seen) {
        const oldest = cameAt[given]!
        const isLate = piece.at - oldest >= 99
        given += piece.text.length
        expect(piece.at - oldest).toBeLessThanOrEqual(100)
        expect(isWhole(piece.text)).toBe(true)
        if (!isLate && piece.at < endedAt) {
          expect(piece.text.length).toBeGreaterThanOrEqual(10)
          expect(piece.at - before).toBeGreaterThan(16.6)
        }
        before = piece.at
      }
    }),
    { numRuns: runs },
  )
})

describe('the smoothed text of a run', () => {
  test('is the same text, in fewer pieces', async () => {
    const count = counter()
    await using server = await testServer({ count })
    const client = createClient<{ count: typeof count }>(server.url, { token: 'alice' })
    const pieces = await readAll(smooth(client.start('count', 5_000).text()))
    expect(pieces.join('')).toBe(counted(1, 5_000))
    expect(pieces.length).toBeLessThan(2_500)
    await client.close()
  })

  test('is stopped at its actor by leaving the loop', async () => {
    const stopped = latch()
    const endless = actor({
      async *stream(_: unknown, { signal }) {
        yield 'Once upon a time '
        await aborted(signal)
        stopped.open()
      },
    })
    await using server = await testServer({ endless })
    const client = createClient<{ endless: typeof endless }>(server.url, { token: 'alice' })
    for await (const _ of smooth(client.start('endless', undefined).text())) break
    await stopped.opened
    await client.close()
  })

  test('stops its actor while nothing reads it', async () => {
    const count = counter()
    await using server = await testServer({ count })
    const client = createClient<{ count: typeof count }>(server.url, { token: 'alice' })
    const pieces = smooth(client.start('count', 1_000_000, { credit: 64 }).text(), { maxChars: 1_000 })
    await pieces.next()
    for await (const _ of client.start('count', 10_000)) continue
    expect(count.runs[0]!.count).toBeLessThan(2_000)
    await pieces.return?.()
    await client.close()
  })
})

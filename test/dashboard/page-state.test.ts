import { describe, expect, test } from 'vitest'
import { fieldOf, valueOf } from '../../dashboard/state/answer-form.ts'
import { AskedRuns } from '../../dashboard/state/asked-runs.ts'
import { createChunk } from '../../dashboard/state/chunk.ts'
import { type CredentialsPage, keepToken, takeToken } from '../../dashboard/state/credentials.ts'
import type { FleetRun } from '../../dashboard/state/fleet.ts'
import { duration, rate, short, things } from '../../dashboard/state/format.ts'
import { placeOf, queryOf } from '../../dashboard/state/place.ts'
import { Series } from '../../dashboard/state/series.ts'
import type { RunDetails } from '../../dashboard/state/server-api.ts'

describe('the token', () => {
  function page(hash: string, kept?: string) {
    const storage = new Map(kept === undefined ? [] : [['millrace.token', kept]])
    const urls: string[] = []
    const self: CredentialsPage = {
      location: { hash, pathname: '/agents/', search: '?q=a' },
      history: { replaceState: (_, __, url) => void urls.push(url) },
      sessionStorage: {
        getItem: (key) => storage.get(key) ?? null,
        setItem: (key, value) => void storage.set(key, value),
        removeItem: (key) => void storage.delete(key),
      },
    }
    return { self, urls, storage }
  }

  test('leaves the address at once, and is kept for a reload', () => {
    const { self, urls, storage } = page('#token=a%2Bb')
    expect(takeToken(self)).toBe('a+b')
    expect(urls).toEqual(['/agents/?q=a'])
    expect([...storage.values()]).toEqual(['a+b'])
  })

  test('is that of before the reload where the address has none, and is forgotten when one asks for it', () => {
    const { self, urls } = page('', 'kept')
    expect(takeToken(self)).toBe('kept')
    expect(urls).toEqual([])
    keepToken(self, undefined)
    expect(takeToken(self)).toBeUndefined()
  })

  test('lasts until a reload in a browser that stores nothing', () => {
    const { self } = page('#token=secret')
    const broken = (): never => {
      throw new Error('denied')
    }
    const sessionStorage = { getItem: broken, setItem: broken, removeItem: broken }
    expect(takeToken({ ...self, sessionStorage })).toBe('secret')
    expect(takeToken({ ...self, location: { ...self.location, hash: '' }, sessionStorage })).toBeUndefined()
  })
})

describe('a place', () => {
  test('is what its address says, and its address is short', () => {
    for (const query of [
      '',
      '?run=r_1&tab=timeline',
      '?view=conversations&keeper=talk&conversation=c+1',
      '?run=r_1&beside=r_2&actor=chat&state=done&q=a+b',
    ])
      expect(queryOf(placeOf(query))).toBe(query)
  })

  test('leaves out what it does not know', () => {
    expect(placeOf('?view=admin&tab=x&state=nope&run=')).toEqual(placeOf(''))
  })
})

describe('a series', () => {
  test('has the values of its span, and their median', () => {
    const series = new Series(1_000)
    for (let at = 0; at <= 5_000; at += 10) series.push(at, at)
    const [times, values] = series.points(5_000)
    expect(values.at(0)).toBe(4_000)
    expect(values).toHaveLength(101)
    expect(times.at(-1)).toBe(5)
    expect(series.median(5_000)).toBe(4_500)
    expect(series.points(10_000)).toEqual([[], []])
    expect(new Series(1_000).median(0)).toBeUndefined()
  })
})

test.each([
  [0, '0 ms'],
  [999.4, '999 ms'],
  [4_240, '4.2 s'],
  [59_900, '59 s'],
  [187_000, '3:07'],
  [7_387_000, '2:03:07'],
])('%d milliseconds are %s', (ms, words) => {
  expect(duration(ms)).toBe(words)
})

test('one thing is one, and more are many', () => {
  expect([0, 1, 12_345].map((n) => things(n, 'item'))).toEqual(['0 items', '1 item', '12,345 items'])
  expect([1, 2].map((n) => things(n, 'child', 'children'))).toEqual(['1 child', '2 children'])
})

test('numbers are short where there is little room', () => {
  expect([rate(0), rate(4.56), rate(12.3), short(9_999), short(12_345)]).toEqual(['0', '4.6', '12', '9,999', '12.3K'])
})

describe('the form of a question', () => {
  test('fits the schema of its answer', () => {
    expect(fieldOf({ kind: 'text' })).toEqual({ type: 'text' })
    expect(fieldOf({ kind: 'confirm' })).toEqual({ type: 'boolean' })
    expect(fieldOf({ kind: 'x', schema: { type: 'boolean' } })).toEqual({ type: 'boolean' })
    expect(fieldOf({ kind: 'x', schema: { enum: ['a', 2] } })).toEqual({ type: 'choice', values: ['a', 2] })
    expect(fieldOf({ kind: 'x', schema: { enum: [{}] } })).toEqual({ type: 'json' })
    expect(fieldOf({ kind: 'x', schema: { type: 'integer' } })).toEqual({ type: 'number' })
    expect(fieldOf({ kind: 'x', schema: { type: 'object' } })).toEqual({ type: 'json' })
  })

  test('gives the value that was typed', () => {
    expect(valueOf({ type: 'number' }, '4.5')).toBe(4.5)
    expect(valueOf({ type: 'json' }, '{"a":1}')).toEqual({ a: 1 })
    expect(() => valueOf({ type: 'json' }, '{')).toThrow(SyntaxError)
    expect(valueOf({ type: 'text' }, '4.5')).toBe('4.5')
  })
})

describe('the questions of runs', () => {
  const run = (id: string, changes: Partial<FleetRun> = {}): FleetRun => ({
    ...{ id, actor: 'a', principal: 'ann', parent: undefined, state: 'waiting_input', outcome: undefined },
    ...{ startedAt: 0, isOwn: true, live: undefined, items: 3 },
    ...changes,
  })
  const may = { cancel: true, approve: true, input: true, govern: true }
  const details = (...requests: string[]): RunDetails => ({
    ...{ own: true, may },
    pending: requests.map((request) => ({ request, kind: 'text' })),
  })

  test('are asked for once for each state of a run that waits, and not for its children', async () => {
    const asks: string[] = []
    const api = {
      run: async (id: string) => {
        asks.push(id)
        return details(`q of ${id}`)
      },
    }
    const asked = new AskedRuns(api, () => 0)
    const runs = [run('r1'), run('r2', { state: 'running' }), run('c1', { parent: 'r1' })]
    asked.look(runs)
    await expect.poll(() => asked.asked.get().map((one) => one.run.id)).toEqual(['r1'])
    asked.look(runs)
    asked.look([run('r1', { items: 4 })])
    await expect.poll(() => asks).toEqual(['r1', 'r1'])
    asked.answered('r1', 'q of r1')
    expect(asked.asked.get()).toEqual([])
  })

  test('are no more when the run goes on, also if their answer is late', async () => {
    let answer = (_: RunDetails): void => {}
    const asked = new AskedRuns({ run: () => new Promise((resolve) => (answer = resolve)) }, () => 0)
    asked.look([run('r1')])
    asked.look([run('r1', { state: 'running' })])
    answer(details('late'))
    await new Promise((resolve) => setImmediate(resolve))
    expect(asked.asked.get()).toEqual([])
  })
})

describe('code that comes later', () => {
  test('is loaded once, however often it is asked for', async () => {
    let reads = 0
    const chunk = createChunk(async () => ++reads)
    const arrived = new Promise((resolve) => chunk.subscribe(() => chunk.get().code && resolve(undefined)))
    chunk.load()
    chunk.load()
    expect(chunk.get()).toMatchObject({ code: undefined, isLoading: true })
    await arrived
    chunk.load()
    expect(chunk.get()).toEqual({ code: 1, isLoading: false, hasFailed: false })
    expect(reads).toBe(1)
  })

  test('that did not come says so until it does, and is loaded again only when it is asked for', async () => {
    const tries: { arrive: (code: string) => void; fail: () => void }[] = []
    const chunk = createChunk(() => new Promise<string>((arrive, fail) => void tries.push({ arrive, fail })))
    const changed = (): Promise<void> =>
      new Promise((resolve) => {
        const ignore = chunk.subscribe(() => {
          ignore()
          resolve()
        })
      })
    chunk.load()
    let change = changed()
    tries[0]!.fail()
    await change
    expect(chunk.get()).toEqual({ code: undefined, isLoading: false, hasFailed: true })
    expect(tries).toHaveLength(1)
    chunk.load()
    expect(chunk.get()).toEqual({ code: undefined, isLoading: true, hasFailed: true })
    change = changed()
    tries[1]!.arrive('here')
    await change
    expect(chunk.get()).toEqual({ code: 'here', isLoading: false, hasFailed: false })
  })
})

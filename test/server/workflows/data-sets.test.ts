import { describe, expect, test } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import { actor, MillraceError, pipelineTeam, workflow } from '../../../server/index.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'
import { servedWorkflow, stepsOf } from '../../helpers/workflow-run.ts'

/** The numbers from 0 on. `read` tells how many were asked for. */
function numbers(to: number): { read: number; [Symbol.asyncIterator](): AsyncGenerator<number> } {
  return {
    read: 0,
    async *[Symbol.asyncIterator]() {
      for (let n = 0; n < to; n++) {
        this.read = n + 1
        yield n
      }
    },
  }
}

describe('a map over a data set', () => {
  test('keeps the order of the items, does so many at a time, and reports its progress chunk by chunk', async () => {
    let active = 0
    let most = 0
    const squares = workflow({
      steps: (flow) =>
        flow.map('square', {
          over: () => Array.from({ length: 10 }, (_, n) => n),
          async each(n, { step }) {
            most = Math.max(most, ++active)
            // The later ones are faster.
            for (let turn = 10 * (10 - n); turn > 0; turn--) await Promise.resolve()
            active--
            expect(step.id).toBe(`square[${n}]`)
            return n * n
          },
          chunk: 4,
          concurrency: 3,
        }),
    })
    await using served = await servedWorkflow(squares)
    const watched = served.start(null)
    expect(await watched.run.result).toEqual([0, 1, 4, 9, 16, 25, 36, 49, 64, 81])
    expect(most).toBe(3)
    const progress = watched
      .all('progress')
      .map(({ current, total, message, step }) => ({ current, total, message, step }))
    expect(progress).toEqual([4, 8, 10].map((current) => ({ current, total: 10, message: 'square', step: 'square' })))
    expect(stepsOf(watched).filter((step) => step.includes('..'))).toEqual(
      ['0..3', '4..7', '8..9'].flatMap((part) => [`square[${part}] start`, `square[${part}] done`]),
    )
  })

  test('may do several steps for each item, which are shown', async () => {
    const words = workflow({
      steps: (flow) =>
        flow.map('words', { over: () => ['ab', 'c'], concurrency: 1 }, (item) =>
          item.step('upper', (word) => word.toUpperCase()).step('long', (word) => word.length),
        ),
    })
    await using served = await servedWorkflow(words)
    const watched = served.start(null)
    expect(await watched.run.result).toEqual([2, 1])
    expect(stepsOf(watched)).toContain('words[1]/upper done')
  })

  test('stops the items under way when one of them fails, and then fails', async () => {
    const isUp = latch()
    let stopped = false
    const failing = workflow({
      steps: (flow) =>
        flow.map('items', {
          over: () => [1, 2, 3, 4],
          async each(n, { signal }) {
            if (n === 1) {
              await isUp.opened
              throw new MillraceError('actor_failed', 'the first one')
            }
            isUp.open()
            await aborted(signal)
            stopped = true
          },
          concurrency: 2,
        }),
    })
    await using served = await servedWorkflow(failing)
    await expect(served.start(null).run.result).rejects.toMatchObject({
      message: expect.stringContaining('the first one'),
    })
    expect(stopped).toBe(true)
  })

  test('stops the items under way when the run is cancelled', async () => {
    const isUp = latch()
    let begun = 0
    let stopped = 0
    const endless = workflow({
      steps: (flow) =>
        flow.map('items', {
          over: () => [1, 2, 3, 4],
          async each(_, { signal }) {
            if (++begun === 2) isUp.open()
            await aborted(signal)
            stopped++
          },
          concurrency: 2,
        }),
    })
    await using served = await servedWorkflow(endless)
    const watched = served.start(null)
    await isUp.opened
    expect(await watched.run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
    expect({ begun, stopped }).toEqual({ begun: 2, stopped: 2 })
  })
})

describe('a batch', () => {
  test('gets chunk after chunk of what it reads, and reports how far it is', async () => {
    const source = numbers(10)
    const chunks: number[][] = []
    const batch = workflow({
      steps: (flow) =>
        flow.batch('import', {
          over: () => source,
          each: (items) => void chunks.push(items),
          chunk: 4,
          total: () => 10,
        }),
    })
    await using served = await servedWorkflow(batch)
    const watched = served.start(null)
    expect(await watched.run.result).toEqual({ items: 10 })
    expect(chunks).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ])
    expect(watched.all('progress').map(({ current, total }) => `${current}/${total}`)).toEqual([
      '4/10',
      '8/10',
      '10/10',
    ])
  })

  test('reports in order, however its chunks end, and is never far ahead of that', async () => {
    const first = latch()
    const source = numbers(1_000)
    const batch = workflow({
      steps: (flow) =>
        flow.batch('import', {
          over: () => source,
          each: ([n]) => (n === 0 ? first.opened : undefined),
          chunk: 10,
          concurrency: 3,
        }),
    })
    await using served = await servedWorkflow(batch)
    const watched = served.start(null)
    await eventually(() => source.read >= 60, 'it goes on behind the first chunk')
    await new Promise((resolve) => setImmediate(resolve))
    expect(source.read).toBeLessThan(100)
    expect(watched.all('progress')).toEqual([])
    first.open()
    expect(await watched.run.result).toEqual({ items: 1_000 })
    const positions = watched.all('progress').map(({ current }) => current)
    expect(positions).toEqual(Array.from({ length: 100 }, (_, n) => (n + 1) * 10))
  })

  test.each([1, 2])('stops between two chunks, %s at a time, and closes what it reads', async (concurrency) => {
    const inChunk = latch()
    let closed = false
    let chunks = 0
    const batch = workflow({
      steps: (flow) =>
        flow.batch('import', {
          async *over() {
            try {
              for (let n = 0; ; n++) yield n
            } finally {
              closed = true
            }
          },
          async each(_, { signal }) {
            if (++chunks < 3) return
            inChunk.open()
            await aborted(signal)
          },
          chunk: 5,
          concurrency,
        }),
    })
    await using served = await servedWorkflow(batch)
    const watched = served.start(null)
    await inChunk.opened
    expect(await watched.run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
    expect({ chunks, closed }).toEqual({ chunks: 2 + concurrency, closed: true })
  })

  test('fails at once where its source has nothing for now, and begins no chunk behind the failure', async () => {
    const more = latch()
    const isClosed = latch()
    const chunks: unknown[] = []
    const failing = workflow({
      steps: (flow) =>
        flow.batch('import', {
          async *over() {
            try {
              yield 1
              await more.opened
              yield 2
            } finally {
              isClosed.open()
            }
          },
          async each([item]) {
            chunks.push(item)
            // The source is asked for the next chunk meanwhile.
            await new Promise(setImmediate)
            throw new MillraceError('unavailable', 'down')
          },
          chunk: 1,
          concurrency: 2,
        }),
    })
    await using served = await servedWorkflow(failing)
    await expect(served.start(null).run.result).rejects.toMatchObject({ message: 'step import failed: down' })
    more.open()
    await isClosed.opened
    expect(chunks).toEqual([1])
  })

  test('fails at once where the other chunks wait for the end of a pause', async () => {
    const gates = [latch(), latch(), latch()] as const
    const begun: number[] = []
    const work = workflow({
      steps: (flow) =>
        flow.batch('import', {
          over: () => [0, 1, 2],
          async each([n]) {
            begun.push(n!)
            await gates[n as 0 | 1 | 2].opened
            if (n === 0) throw new MillraceError('unavailable', 'down')
          },
          chunk: 1,
          concurrency: 2,
        }),
    })
    await using served = await servedWorkflow(work)
    const watched = served.start(null)
    await eventually(() => begun.length === 2, 'two chunks are under way')
    await watched.run.send('govern', { paused: true })
    gates[1].open()
    await watched.run.send('govern', {})
    gates[0].open()
    await expect(watched.run.result).rejects.toMatchObject({ code: 'unavailable' })
    expect(begun).toEqual([0, 1])
  })

  test('stops its source where that waits for more, and the cancel waits for it', async () => {
    for (const concurrency of [1, 2]) {
      const isUp = latch()
      let isClosed = false
      const work = workflow({
        steps: (flow) =>
          flow.batch('import', {
            async *over(_, _input, signal) {
              try {
                yield 1
                isUp.open()
                await aborted(signal)
              } finally {
                isClosed = true
              }
            },
            each: () => {},
            chunk: 1,
            concurrency,
          }),
      })
      await using served = await servedWorkflow(work)
      const watched = served.start(null)
      await isUp.opened
      expect(await watched.run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
      expect(isClosed).toBe(true)
    }
  })

  test('begins no chunk that its source gives after a failure', async () => {
    const isFailing = latch()
    const chunks: unknown[] = []
    const failing = workflow({
      steps: (flow) =>
        flow.batch('import', {
          async *over() {
            yield 1
            await isFailing.opened
            yield 2
          },
          each([item]) {
            chunks.push(item)
            isFailing.open()
            throw new MillraceError('unavailable', 'down')
          },
          chunk: 1,
          concurrency: 2,
        }),
    })
    await using served = await servedWorkflow(failing)
    await expect(served.start(null).run.result).rejects.toMatchObject({ message: 'step import failed: down' })
    expect(chunks).toEqual([1])
  })

  test('is held back by a reader that does not read, and is no faster than that', async () => {
    let chunks = 0
    const batch = workflow({
      steps: (flow) => flow.batch('import', { over: () => numbers(100_000), each: () => (chunks += 1), chunk: 1 }),
    })
    await using served = await servedWorkflow(batch, { limits: { readAhead: 4 } })
    const run = served.client.start('work', null, { credit: 8 })
    await run.opened
    await eventually(() => chunks >= 12, 'it goes as far as it may')
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    // Its start, the progress of each chunk, and the chunk whose progress waits.
    expect(chunks).toBeLessThanOrEqual(13)
    await run.cancel()
  })
})

describe('a run that begins where another one failed', () => {
  test('skips the steps that were done there, with their results', async () => {
    const done: string[] = []
    const isLeftDone = latch()
    let isBroken = true
    const flaky = workflow({
      steps: (flow) =>
        flow
          .step('first', () => (done.push('first'), { n: 1 }))
          .parallel('both', (branch) => ({
            left: branch.step('one', ({ n }) => (done.push('left'), n + 1)),
            right: branch
              .step('one', ({ n }) => (done.push('right'), n + 2))
              .step('two', async (n) => {
                done.push('two')
                await isLeftDone.opened
                if (isBroken) throw new MillraceError('unavailable', 'down')
                return n * 10
              }),
          }))
          .step('last', ({ left, right }) => left + right),
    })
    await using served = await servedWorkflow(flaky)
    const failed = served.start(null)
    await failed.first('step', ({ id, status }) => id === 'both/left' && status === 'done')
    isLeftDone.open()
    await expect(failed.run.result).rejects.toMatchObject({ details: { step: 'both/right/two' } })
    expect(done.toSorted()).toEqual(['first', 'left', 'right', 'two'])
    done.length = 0
    isBroken = false
    const again = served.start(null, { meta: { retryOf: failed.run.id } })
    expect(await again.run.result).toBe(32)
    await again.over
    expect(done).toEqual(['two'])
    expect(
      stepsOf(again)
        .filter((step) => step.endsWith('skipped'))
        .toSorted(),
    ).toEqual(['both/left skipped', 'both/right/one skipped', 'first skipped'])
    // What was skipped has its result, so that a third run knows it, too.
    const third = served.start(null, { meta: { retryOf: again.run.id } })
    expect(await third.run.result).toBe(32)
    expect(done).toEqual(['two'])
  })

  test('does a step again whose output was too large for its event', async () => {
    const done: string[] = []
    let isBroken = true
    const large = workflow({
      steps: (flow) =>
        flow
          .step('small', () => (done.push('small'), 1))
          .step('large', () => (done.push('large'), 'x'.repeat(70_000)))
          .step('last', (text) => {
            if (isBroken) throw new MillraceError('unavailable', 'down')
            return text.length
          }),
    })
    await using served = await servedWorkflow(large)
    const failed = served.start(null)
    const told = await failed.first('step', ({ id, status }) => id === 'large' && status === 'done')
    expect(told).toMatchObject({ truncated: true })
    expect(told).not.toHaveProperty('output')
    await expect(failed.run.result).rejects.toMatchObject({ details: { step: 'last' } })
    isBroken = false
    const again = served.start(null, { meta: { retryOf: failed.run.id } })
    expect(await again.run.result).toBe(70_000)
    expect(done).toEqual(['small', 'large', 'large'])
  })

  test('begins its child workflows and its teams from their first step', async () => {
    const seen: unknown[] = []
    const member = actor({
      ask: (input, { run }) => {
        seen.push(run.meta)
        return Promise.resolve(input)
      },
    })
    const child = workflow({ steps: (flow) => flow.step('inner', (n) => n) })
    const team = pipelineTeam({ members: () => ({ member }), budget: { tokens: 1_000 } })
    let isBroken = true
    const flaky = workflow({
      steps: (flow) =>
        flow
          .step('check', () => {
            if (isBroken) throw new MillraceError('unavailable', 'down')
            return 'a task'
          })
          .step('spawn', (task, { spawn }) => spawn(child, task).result)
          .step('team', team, { input: (task) => String(task) }),
    })
    await using served = await servedWorkflow(flaky)
    const failed = served.start(null)
    await expect(failed.run.result).rejects.toMatchObject({ details: { step: 'check' } })
    isBroken = false
    const again = served.start(null, { meta: { user: 'alice', retryOf: failed.run.id } })
    expect(await again.run.result).toEqual({ prompt: 'a task' })
    expect(seen).toEqual([{ user: 'alice' }])
  })

  test('goes on behind the last finished chunk, of a source that it reads again or that seeks', async () => {
    for (const isSeeking of [false, true]) {
      const chunks: number[][] = []
      const froms: number[] = []
      let isBroken = true
      const batch = workflow({
        steps: (flow) =>
          flow.batch('import', {
            over: () => numbers(10),
            each(items) {
              if (isBroken && items[0] === 6) throw new MillraceError('unavailable', 'down')
              chunks.push(items)
            },
            chunk: 3,
            from: isSeeking
              ? async function* (_, done) {
                  froms.push(done)
                  for (let n = done; n < 10; n++) yield n
                }
              : undefined,
          }),
      })
      await using served = await servedWorkflow(batch)
      const failed = served.start(null)
      await expect(failed.run.result).rejects.toMatchObject({ code: 'unavailable' })
      isBroken = false
      const again = served.start(null, { meta: { retryOf: failed.run.id } })
      expect(await again.run.result).toEqual({ items: 10 })
      expect(chunks).toEqual([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]])
      expect(again.all('progress').map(({ current }) => current)).toEqual([9, 10])
      expect(froms).toEqual(isSeeking ? [6] : [])
    }
  })

  test('reports the number of all items, also of a source that seeks and gives the rest as an array', async () => {
    let isBroken = true
    const all = [0, 1, 2, 3, 4]
    const batch = workflow({
      steps: (flow) =>
        flow.batch('import', {
          over: () => all,
          from: (_, done) => all.slice(done),
          each(items) {
            if (isBroken && items[0] === 2) throw new MillraceError('unavailable', 'down')
          },
          chunk: 2,
        }),
    })
    await using served = await servedWorkflow(batch)
    const failed = served.start(null)
    await expect(failed.run.result).rejects.toMatchObject({ code: 'unavailable' })
    isBroken = false
    const again = served.start(null, { meta: { retryOf: failed.run.id } })
    expect(await again.run.result).toEqual({ items: 5 })
    expect(again.all('progress').map(({ current, total }) => [current, total])).toEqual([
      [4, 5],
      [5, 5],
    ])
  })

  test('goes on with the chunks of a map, and with the last iteration of a loop', async () => {
    const done: string[] = []
    let isBroken = true
    const work = workflow({
      steps: (flow) =>
        flow
          .map('double', {
            over: () => [1, 2, 3, 4],
            each: (n) => (done.push(`double ${n}`), n * 2),
            chunk: 2,
          })
          .step('sum', (all) => all.reduce((sum, n) => sum + n, 0))
          .loop(
            'grow',
            (turn) =>
              turn.step('add', (n) => {
                done.push(`grow ${n}`)
                if (n === 22 && isBroken) throw new MillraceError('unavailable', 'down')
                return n + 1
              }),
            { until: (n) => n > 23 },
          ),
    })
    await using served = await servedWorkflow(work)
    const failed = served.start(null)
    await expect(failed.run.result).rejects.toMatchObject({ details: { step: 'grow[3]/add' } })
    done.length = 0
    isBroken = false
    expect(await served.start(null, { meta: { retryOf: failed.run.id } }).run.result).toBe(24)
    expect(done).toEqual(['grow 22', 'grow 23'])
  })

  test('is refused for a run that is unknown, goes on, or is of another actor', async () => {
    const isUp = latch()
    const goOn = latch()
    const work = workflow({ steps: (flow) => flow.step('one', () => (isUp.open(), goOn.opened)) })
    const other = actor({ ask: () => 'other' })
    await using both = await testServer({ work, other })
    const client = createClient(both.url, { token: 'alice' })
    const another = client.start('other', null)
    await another.result
    await expect(client.start('work', null, { meta: { retryOf: another.id } }).result).rejects.toMatchObject({
      code: 'bad_request',
      message: expect.stringContaining('is one of other, not of work'),
    })
    await client.close()
    await using served = await servedWorkflow(work)
    const live = served.start(null)
    await isUp.opened
    const started = (retryOf: unknown) => served.start(null, { meta: { retryOf } }).run.result
    await expect(started('r_unknown')).rejects.toMatchObject({ code: 'not_found' })
    await expect(started(7)).rejects.toMatchObject({
      code: 'bad_request',
      message: 'meta.retryOf must be the id of a run',
    })
    await expect(started(live.run.id)).rejects.toMatchObject({
      code: 'bad_request',
      message: expect.stringContaining('has not ended'),
    })
    goOn.open()
  })

  test('cannot read the run of somebody else', async () => {
    const work = workflow({ steps: (flow) => flow.step('one', () => 'secret') })
    await using served = await servedWorkflow(work)
    const { run } = served.start(null)
    await run.result
    const bob = served.another('bob')
    await expect(bob.start('work', null, { meta: { retryOf: run.id } }).result).rejects.toMatchObject({
      code: 'not_found',
    })
  })
})

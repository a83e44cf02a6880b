import { expect, test } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import { workflow } from '../../../server/index.ts'
import { repetitions } from '../../helpers/tier.ts'
import { servedWorkflow } from '../../helpers/workflow-run.ts'

const ITEMS = repetitions({ quick: 100_000, full: 1_000_000 })
const CHUNK = ITEMS / 1_000
/** What a run over any number of items may add to the heap. */
const MOST_BYTES = 10 * 1_048_576

/** Rows of some size: all of them together would take many times that. */
async function* rows(): AsyncGenerator<{ id: number; text: string }> {
  for (let id = 0; id < ITEMS; id++) yield { id, text: `row ${id} `.repeat(20) }
}

function heapBytes(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

test(`a batch over ${ITEMS.toLocaleString('en')} items keeps the heap flat, and goes on behind its last chunk after a failure`, {
  timeout: 300_000,
}, async () => {
  let isBroken = true
  const done = new Set<number>()
  const heaps: number[] = []
  let before = 0
  const work = workflow({
    steps: (flow) =>
      flow.batch('import', {
        over: rows,
        each(items) {
          const [first = 0] = items.map(({ id }) => id)
          if (isBroken && first >= ITEMS / 2) throw new Error('the process is out of luck')
          if (done.has(first)) throw new Error(`chunk ${first} is done twice`)
          done.add(first)
          if (first % (ITEMS / 10) === 0) heaps.push(heapBytes() - before)
        },
        chunk: CHUNK,
        total: () => ITEMS,
      }),
  })
  await using served = await servedWorkflow(work)
  // What loads at the first run is no part of it.
  isBroken = true
  await served.start(null, { timeoutMs: 1 }).run.end
  done.clear()
  heaps.length = 0
  before = heapBytes()

  const failed = served.start(null)
  const observer = createClient(served.url, { token: 'alice' })
  await failed.run.opened
  const watch = observer.attach('work', failed.run.id ?? '', { policy: 'latest', after: 'start', rate: 50 })
  let seen = 0
  const watching = (async () => {
    for await (const event of watch) if (event.type === 'progress') seen++
  })().catch(() => {})
  expect((await failed.run.end).outcome).toBe('error')
  await watching
  expect(seen).toBeLessThanOrEqual(1_000)
  isBroken = false
  const again = served.start(null, { meta: { retryOf: failed.run.id } })
  expect(await again.run.result).toEqual({ items: ITEMS })
  expect(done.size).toBe(1_000)
  expect(again.all('progress')[0]?.current).toBe(ITEMS / 2 + CHUNK)
  expect(Math.max(...heaps)).toBeLessThan(MOST_BYTES)
  await observer.close()
})

test('a step of a loop keeps at most 2 KB, and its time is printed', async () => {
  const STEPS = 5_000
  let steps = 0
  let begunAt = 0
  let heapBefore = 0
  let tookMs = 0
  let tookBytes = 0
  const work = workflow({
    steps: (flow) =>
      flow.loop('turns', (turn) => turn.step('add', () => ++steps), {
        until(_, n) {
          if (n === 1_000) {
            heapBefore = heapBytes()
            begunAt = performance.now()
          }
          if (n < 1_000 + STEPS / 2) return false
          tookMs = performance.now() - begunAt
          tookBytes = heapBytes() - heapBefore
          return true
        },
        max: 10_000,
      }),
  })
  await using served = await servedWorkflow(work, { limits: { retainEvents: 2_000 } })
  await served.client.start('work', null, { policy: 'log', onDetach: 'continue' }).end
  // An iteration is a step, and so is what it does.
  console.log(`a step: ${((tookMs * 1_000) / STEPS).toFixed(1)} us, ${Math.round(tookBytes / STEPS)} bytes kept`)
  expect(tookBytes / STEPS).toBeLessThan(2_048)
})

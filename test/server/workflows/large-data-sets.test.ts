import { expect, test } from 'vitest'
import { createClient } from '../../../client-sdk/node.ts'
import { type Actor, workflow } from '../../../server/index.ts'
import { Watched } from '../../helpers/agent-run.ts'
import { onOneStore } from '../../helpers/one-store.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'
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

test(`a batch over ${ITEMS.toLocaleString('en')} items keeps the heap flat, and goes on behind its last chunk after its process was killed`, {
  timeout: 300_000,
}, async () => {
  let isFirst = true
  const half = latch()
  const done = new Set<number>()
  const heaps: number[] = []
  let before = 0
  const work = workflow({
    steps: (flow) =>
      flow.batch('import', {
        over: rows,
        async each(items, { signal }) {
          const [first = 0] = items.map(({ id }) => id)
          if (isFirst && first >= ITEMS / 2) {
            half.open()
            await aborted(signal)
          }
          signal.throwIfAborted()
          if (done.has(first)) throw new Error(`chunk ${first} is done twice`)
          done.add(first)
          if (first % (ITEMS / 10) === 0) heaps.push(heapBytes() - before)
        },
        chunk: CHUNK,
        total: () => ITEMS,
      }),
  }) as object as Actor
  const { begin, stored } = onOneStore({ work })
  let id = ''
  let seen = 0
  {
    await using first = await begin()
    const client = createClient(first.url, { token: 'alice' })
    // What loads at the first run is no part of it.
    await client.start('work', null, { timeoutMs: 1 }).end
    done.clear()
    heaps.length = 0
    before = heapBytes()
    const killed = client.start('work', null, { policy: 'log', onDetach: 'continue' })
    ;({ id } = await killed.opened)
    const observer = createClient(first.url, { token: 'alice' })
    const watch = observer.attach('work', id, { policy: 'latest', after: 'start', rate: 50 })
    const watching = (async () => {
      for await (const event of watch) if (event.type === 'progress') seen++
    })().catch(() => {})
    await half.opened
    // The beginning of the step, and 500 chunks.
    await stored(id, ({ next }) => next > 501)
    first.kill()
    await Promise.all([client, observer].map((one) => one.close({ runs: 'detach' })))
    await watching
  }
  expect(seen).toBeLessThanOrEqual(1_000)
  expect(done.size).toBe(500)
  isFirst = false
  await using second = await begin()
  const client = createClient(second.url, { token: 'alice' })
  await expect(client.attach('work', id).result).rejects.toMatchObject({ code: 'interrupted' })
  const again = new Watched(client.start('work', null, { meta: { retryOf: id } }))
  expect(await again.run.result).toEqual({ items: ITEMS })
  expect(done.size).toBe(1_000)
  await again.over
  expect(again.all('progress')[0]?.current).toBe(ITEMS / 2 + CHUNK)
  console.log(`a batch: at most ${Math.round(Math.max(...heaps) / 1_024)} KiB of heap, ${seen} events seen`)
  expect(Math.max(...heaps)).toBeLessThan(MOST_BYTES)
  await client.close()
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

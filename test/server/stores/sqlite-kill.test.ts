import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Child } from '../../helpers/child-process.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { openSqlite, temporaryFolder } from '../../helpers/sqlite-harness.ts'
import { END, itemsOf } from '../../helpers/store-items.ts'
import type { StoreReport } from '../../helpers/store-process.ts'
import { repetitions } from '../../helpers/tier.ts'

const RUNS = ['r0', 'r1', 'r2', 'r3']
const MOMENTS = repetitions({ quick: 3, full: 30, long: 100 })

/** Starts a process that appends, kills it after a number of confirmations, and returns what was confirmed until then. */
async function killed(path: string, runs: readonly string[], confirmations: number): Promise<Map<string, number>> {
  await using child = new Child<StoreReport, never>('store-process.ts', { path, runs })
  const confirmed = new Map<string, number>()
  await child.said(
    'stored',
    ({ run, last }) => {
      confirmed.set(run, Math.max(last, confirmed.get(run) ?? 0))
      return true
    },
    confirmations,
  )
  child.signal('SIGKILL')
  await child.exited
  return confirmed
}

test(`after kill -9 at ${MOMENTS} random moments, all that was confirmed is there, and nothing twice`, async () => {
  const seed = Date.now() % 2 ** 31
  console.log(`kill -9 seed ${seed}`)
  const random = seededRandom(seed)
  for (let moment = 0; moment < MOMENTS; moment++) {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'millrace.db')
    // Up to three processes die one after the other with the same file.
    const expected = new Map<string, number>()
    for (let life = 0; life <= moment % 3; life++) {
      const runs = RUNS.map((run) => `${run}-${life}`)
      for (const [run, last] of await killed(path, runs, 1 + Math.floor(random() * 300))) expected.set(run, last)
    }
    await using open = await openSqlite(path)
    expect(await open.database.read('PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }])
    for (const [run, last] of expected) {
      const stored = (await open.store.find(run))!
      expect(stored.next, `${run}, seed ${seed}`).toBeGreaterThan(last)
      const { batches } = await open.store.read(run, 1, 10_000_000)
      let next = 1
      for (const batch of batches) {
        expect(batch).toEqual(itemsOf(run, 1, next, batch.last))
        next = batch.last + 1
      }
      expect(next).toBe(stored.next)
      expect(await open.store.findKey(`key of ${run}`)).toEqual({ run, input: 'a' })
      expect(stored.end).toEqual(stored.next === END.seq ? END : undefined)
      expect(await open.store.takeOver(run)).toEqual(
        stored.end ? 'ended' : expect.objectContaining({ run: expect.objectContaining({ next: stored.next }) }),
      )
    }
  }
}, 600_000)

import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Batch, Lease, RunStore } from '../../../server/stores/run-store.ts'
import type { Database } from '../../../server/stores/sqlite/database.ts'
import { openSqlite, sqliteHarness, temporaryFolder } from '../../helpers/sqlite-harness.ts'
import { itemsOf } from '../../helpers/store-items.ts'
import { repetitions } from '../../helpers/tier.ts'

/** How long the sequences may take: about a second each on a busy machine. */
const MOST_MS = repetitions({ quick: 120_000, full: 600_000, long: 3_600_000 })

const facts = { actor: 'count', principal: 'alice', startedAt: 1, packed: new Uint8Array(9) }

async function count(database: Database, table: 'batches' | 'tails'): Promise<number> {
  const [row] = await database.read(`SELECT count(*) AS n FROM ${table}`)
  return row!['n'] as number
}

async function begun(store: RunStore, runs: number): Promise<Lease[]> {
  return Promise.all(Array.from({ length: runs }, (_, n) => store.begin(`r${n}`, { facts }) as Promise<Lease>))
}

async function allOf(store: RunStore, run: string): Promise<Batch[]> {
  const batches: Batch[] = []
  for (let from = 1, more = true; more; from = batches.at(-1)!.last + 1) {
    const page = await store.read(run, from, 300)
    batches.push(...page.batches)
    ;({ more } = page)
  }
  return batches
}

describe('small appends to many runs', () => {
  test('are one row for each moment, and one for each run once they are old', async () => {
    await using folder = await temporaryFolder()
    await using open = await openSqlite(join(folder.path, 'a.db'))
    const leases = await begun(open.store, 50)
    const round = (n: number): Promise<unknown> =>
      Promise.all(leases.map((lease, run) => lease.append({ batch: itemsOf(`r${run}`, 1, n, n) })))
    for (let n = 1; n <= 20; n++) await round(n)
    expect([await count(open.database, 'tails'), await count(open.database, 'batches')]).toEqual([20, 0])
    for (let n = 21; n <= 500; n++) await round(n)
    expect(await count(open.database, 'tails')).toBeLessThan(100)
    expect(await count(open.database, 'batches')).toBeGreaterThan(50)
    expect(await count(open.database, 'batches')).toBeLessThan(50 * 10)
    expect(await allOf(open.store, 'r7')).toEqual(Array.from({ length: 500 }, (_, n) => itemsOf('r7', 1, n + 1, n + 1)))
  })

  test('are rows once the file is closed, and once it is looked through', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'a.db')
    {
      await using open = await openSqlite(path)
      const [one, two] = await begun(open.store, 2)
      await one!.append({ batch: itemsOf('r0', 1, 1, 1) })
      await open.database.maintain('PRAGMA integrity_check')
      expect([await count(open.database, 'tails'), await count(open.database, 'batches')]).toEqual([0, 1])
      await two!.append({ batch: itemsOf('r1', 1, 1, 1) })
      expect([await count(open.database, 'tails'), await count(open.database, 'batches')]).toEqual([1, 1])
    }
    await using open = await openSqlite(path)
    expect([await count(open.database, 'tails'), await count(open.database, 'batches')]).toEqual([0, 2])
  })

  test('are gone from the file with their run', async () => {
    await using folder = await temporaryFolder()
    await using open = await openSqlite(join(folder.path, 'a.db'))
    const [one, two] = await begun(open.store, 2)
    await Promise.all([one!.append({ batch: itemsOf('r0', 1, 1, 1) }), two!.append({ batch: itemsOf('r1', 1, 1, 1) })])
    await open.store.remove('r0')
    expect(await count(open.database, 'tails')).toBe(0)
    expect(await allOf(open.store, 'r1')).toEqual([itemsOf('r1', 1, 1, 1)])
  })

  test('of one run become a row when they are many bytes', async () => {
    await using folder = await temporaryFolder()
    await using open = await openSqlite(join(folder.path, 'a.db'))
    const [lease] = await begun(open.store, 1)
    for (let n = 1; n <= 20; n++)
      await lease!.append({ batch: { ...itemsOf('r0', 1, n, n), bodies: Buffer.alloc(4_000) } })
    expect(await count(open.database, 'tails')).toBe(0)
    expect(await count(open.database, 'batches')).toBe(4)
  })

  test('fail at once while the disk is full, and go on at once when it is not', { timeout: 30_000 }, async () => {
    await using harness = await sqliteHarness()
    const leases = await begun(harness.store, 500)
    const round = (n: number): Promise<unknown[]> =>
      Promise.all(
        leases.map((lease, run) =>
          lease.append({ batch: itemsOf(`r${run}`, 1, n, n) }).catch((error: unknown) => (error as Error).message),
        ),
      )
    for (let n = 1; n <= 60; n++) await round(n)
    await harness.full(true)
    // Each fails on its own, and none takes so long that others wait until their time limit.
    for (let n = 0; n < 3; n++) {
      const told = (await round(61)).filter((each) => each !== undefined)
      // The last page may have had room for a few.
      expect(told.length).toBeGreaterThan(450)
      for (const each of told) expect(each).toMatch(/disk of .* is full/)
    }
    await harness.full(false)
    expect(new Set(await round(61))).toEqual(new Set([undefined]))
    expect(await allOf(harness.store, 'r7')).toEqual(
      Array.from({ length: 61 }, (_, n) => itemsOf('r7', 1, n + 1, n + 1)),
    )
  })

  test('are read as they were appended, whatever else is done, fails and dies', { timeout: MOST_MS }, async () => {
    const run = fc.nat(3)
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({
          does: fc.constant('append' as const),
          runs: fc.array(run, { maxLength: 8 }),
          items: fc.integer({ min: 1, max: 4 }),
          size: fc.constantFrom(1, 1, 1, 9_000),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          does: fc.constantFrom('read' as const, 'end' as const, 'input' as const, 'repeat' as const),
          run,
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          does: fc.constantFrom('kill' as const, 'restart' as const, 'full' as const, 'list' as const),
        }),
      },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        await using harness = await sqliteHarness()
        let { store } = harness
        const leases = await begun(store, 4)
        const model = leases.map((lease, n) => ({
          id: `r${n}`,
          lease,
          said: [] as Batch[],
          next: 1,
          usage: undefined as Uint8Array | undefined,
          hasEnded: false,
          isHeld: true,
        }))
        const look = async ({ id, said, next, usage, hasEnded }: (typeof model)[0]): Promise<void> => {
          if (said.length > 0) expect(await allOf(store, id)).toEqual(said)
          expect(await store.find(id)).toMatchObject({ first: said[0]?.first ?? 1, next })
          expect((await store.find(id))?.end !== undefined).toBe(hasEnded)
          expect((await store.find(id))?.usage).toEqual(usage)
        }
        for (const each of steps) {
          switch (each.does) {
            case 'append':
              await Promise.all(
                each.runs.map(async (n) => {
                  const of = model[n]!
                  const batch = {
                    ...itemsOf(of.id, of.lease.gen, of.next, of.next + each.items - 1),
                    ...(each.size > 1 && { bodies: new Uint8Array(each.size) }),
                    ...(each.items === 2 && { open: Uint8Array.of(n) }),
                  }
                  if (of.hasEnded) {
                    if (of.isHeld) expect(await of.lease.append({ batch })).toBe('ended')
                    return
                  }
                  of.next += each.items
                  of.said.push(batch)
                  const usage = n === 1 && each.items > 2 ? Uint8Array.of(of.next % 256) : undefined
                  of.usage = usage ?? of.usage
                  expect(await of.lease.append({ batch, usage })).toBeUndefined()
                }),
              )
              break
            case 'read':
              await look(model[each.run]!)
              break
            case 'repeat': {
              const { lease, said, hasEnded } = model[each.run]!
              const batch = said.at(-1)
              if (batch?.gen === lease.gen && !hasEnded) expect(await lease.append({ batch })).toBeUndefined()
              break
            }
            case 'input': {
              const { lease, hasEnded } = model[each.run]!
              if (!hasEnded) await lease.append({ inputs: [{ mid: 'm', type: 't', packed: new Uint8Array(1) }] })
              break
            }
            case 'end': {
              const of = model[each.run]!
              if (of.hasEnded) break
              await of.lease.append({ end: { seq: of.next, outcome: 'done', packed: new Uint8Array(1) } })
              of.hasEnded = true
              break
            }
            case 'list':
              expect((await store.list('alice', undefined, 9)).map(({ next }) => next).sort()).toEqual(
                model.map(({ next }) => next).sort(),
              )
              break
            case 'full': {
              await harness.full(true)
              const of = model.find(({ hasEnded }) => !hasEnded)
              const batch = of && { ...itemsOf(of.id, of.lease.gen, of.next, of.next), bodies: new Uint8Array(500_000) }
              if (batch) await expect(of.lease.append({ batch })).rejects.toMatchObject({ code: 'store_unavailable' })
              await harness.full(false)
              break
            }
            case 'kill':
            case 'restart':
              store = await harness[each.does]()
              for (const of of model) {
                const taken = await store.takeOver(of.id)
                // Its lease is one of the store that is gone.
                of.isHeld = !of.hasEnded
                if (of.hasEnded) expect(taken).toBe('ended')
                else if (typeof taken === 'string') throw new Error(taken)
                else of.lease = taken.lease
              }
          }
        }
        for (const of of model) await look(of)
      }),
      { numRuns: repetitions({ quick: 10, full: 100, long: 1_000 }) },
    )
  })
})

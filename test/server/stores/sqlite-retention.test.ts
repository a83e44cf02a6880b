import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { nodeRuntime } from '../../../server/runtime.ts'
import type { Lease, RunStore } from '../../../server/stores/run-store.ts'
import type { Database } from '../../../server/stores/sqlite/database.ts'
import type { StoreRuntime } from '../../../server/stores/sqlite/sqlite-store.ts'
import { openSqlite, temporaryFolder } from '../../helpers/sqlite-harness.ts'
import { itemsOf } from '../../helpers/store-items.ts'

const DAY_MS = 86_400_000
const facts = { actor: 'count', principal: 'alice', startedAt: 1, packed: new Uint8Array(9) }
const large = new Uint8Array(20_000)

/** The real runtime, except that its wall clock is set by a test. */
function calendar(): StoreRuntime & { today: number } {
  const clock = { ...nodeRuntime, today: 1, wallClock: () => clock.today * DAY_MS }
  return clock
}

async function begun(store: RunStore, id: string, batches = 1): Promise<Lease> {
  const lease = (await store.begin(id, { facts })) as Lease
  const appended = Array.from({ length: batches }, (_, index) =>
    lease.append({ batch: { ...itemsOf(id, 1, index + 1, index + 1), bodies: large } }),
  )
  await Promise.all(appended)
  return lease
}

async function ended(store: RunStore, id: string, batches = 1): Promise<void> {
  const lease = await begun(store, id, batches)
  await lease.append({ end: { seq: batches + 1, outcome: 'done', packed: new Uint8Array(3) } })
}

/** Resolves once `look` gives true. It looks again after each answer of the file, which retention works with too. */
async function until(look: () => Promise<boolean>): Promise<void> {
  while (!(await look())) await new Promise<void>((resolve) => nodeRuntime.nextTurn(resolve))
}

async function count(database: Database, table: 'batches' | 'garbage' | 'runs'): Promise<number> {
  const [row] = await database.read(`SELECT count(*) AS n FROM ${table}`)
  return row!['n'] as number
}

describe('a SQLite store removes', () => {
  test('runs whose time is over, and no others', async () => {
    await using folder = await temporaryFolder()
    const runtime = calendar()
    await using open = await openSqlite(join(folder.path, 'a.db'), { keepMs: 7 * DAY_MS }, runtime)
    const { store, database } = open
    await ended(store, 'old')
    await (await begun(store, 'live')).append({ usage: new Uint8Array(1) })
    await (await begun(store, 'parked')).append({ parked: new Uint8Array(1) })
    runtime.today = 5
    await ended(store, 'new')
    runtime.today = 8.5
    await store.remove('nobody')
    await until(async () => (await store.find('old')) === undefined)
    expect((await store.list('alice', undefined, 9)).map(({ id }) => id).sort()).toEqual(['live', 'new', 'parked'])
    await until(async () => (await count(database, 'garbage')) === 0)
    expect(await count(database, 'batches')).toBe(3)
  })

  test('the runs that ended first when its file is too large, and none that goes on or waits', async () => {
    await using folder = await temporaryFolder()
    const runtime = calendar()
    await using open = await openSqlite(join(folder.path, 'a.db'), { maxBytes: 2_000_000 }, runtime)
    const { store, database } = open
    await begun(store, 'live', 10)
    await (await begun(store, 'parked', 10)).append({ parked: new Uint8Array(1) })
    for (let n = 0; n < 30; n++) {
      runtime.today += 1
      await ended(store, `r${n}`, 10)
    }
    await until(async () => {
      const [size] = await database.read('SELECT (SELECT page_count FROM pragma_page_count) AS pages')
      return (size!['pages'] as number) * 4_096 <= 2_000_000
    })
    const kept = (await store.list('alice', undefined, 99)).map(({ id }) => id)
    expect(kept).toEqual(expect.arrayContaining(['live', 'parked', 'r29']))
    expect(kept).not.toContain('r0')
    const numbers = kept
      .filter((id) => /^r\d/.test(id))
      .map((id) => Number(id.slice(1)))
      .sort((a, b) => a - b)
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, index) => 30 - numbers.length + index))
    expect((await store.read('live', 1, 10_000_000)).batches).toHaveLength(10)
  })

  test('the oldest items of a log that is too long, and keeps its end', async () => {
    await using folder = await temporaryFolder()
    await using open = await openSqlite(join(folder.path, 'a.db'), { maxRunBytes: 400_000 })
    const { store } = open
    const lease = await begun(store, 'r1', 60)
    await until(async () => (await store.find('r1'))!.first > 35)
    const { first, next } = (await store.find('r1'))!
    expect(next).toBe(61)
    const { batches } = await store.read('r1', 1, 10_000_000)
    expect(batches.map((batch) => batch.first)).toEqual(Array.from({ length: next - first }, (_, n) => first + n))
    expect(await lease.append({ batch: itemsOf('r1', 1, 61, 61) })).toBeUndefined()
    expect(await lease.append({ batch: itemsOf('r1', 1, 3, 3) })).toBeUndefined()
  })

  test('but never the last item of a log, however large', async () => {
    await using folder = await temporaryFolder()
    await using open = await openSqlite(join(folder.path, 'a.db'), { maxRunBytes: 1_000 })
    await begun(open.store, 'r1', 3)
    await until(async () => (await open.store.find('r1'))!.first === 3)
    expect((await open.store.read('r1', 1, 1_000)).batches).toHaveLength(1)
  })

  test('as much of a log of many small appends as it says: what it counts is what is there', async () => {
    await using folder = await temporaryFolder()
    await using open = await openSqlite(join(folder.path, 'a.db'), { maxRunBytes: 60_000 })
    const { store, database } = open
    const lease = (await store.begin('r1', { facts })) as Lease
    const counted = async (): Promise<number> =>
      (await database.read('SELECT bytes FROM states'))[0]!['bytes'] as number
    for (let seq = 1; seq <= 20_000; ) {
      const appended = Array.from({ length: 500 }, () => lease.append({ batch: itemsOf('r1', 1, seq, seq++) }))
      await Promise.all(appended)
    }
    // What it has besides its items.
    const besides = 512 + facts.packed.length
    // The last of the appends may still be written, and what is too much be removed, between a reading and a count.
    await until(async () => {
      const { first, next } = (await store.find('r1'))!
      const batches = []
      for (let from = first; from < next; from = batches.at(-1)!.last + 1)
        batches.push(...(await store.read('r1', from, 10_000_000)).batches)
      const kept = batches.reduce((sum, { index, bodies }) => sum + index.length + bodies.length, 0)
      return first > 1 && kept > 30_000 && kept < 65_000 - besides && (await counted()) === kept + besides
    })
  })

  test('a removed run at once, its items little by little, and gives their room back to the disk', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'a.db')
    await using open = await openSqlite(path)
    const { store, database } = open
    const pages = async (): Promise<number> => (await database.read('PRAGMA page_count'))[0]!['page_count'] as number
    for (const id of ['r1', 'r2', 'r3']) await begun(store, id, 300)
    const before = await pages()
    expect(await store.removeAll('alice')).toBe(3)
    expect(await store.find('r1')).toBeUndefined()
    await until(async () => (await count(database, 'garbage')) === 0)
    await until(async () => (await pages()) < before / 4)
    expect(await count(database, 'batches')).toBe(0)
  })

  test('what it had begun to remove when it was closed', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'a.db')
    {
      await using open = await openSqlite(path)
      await begun(open.store, 'r1', 600)
      await open.store.remove('r1')
    }
    await using open = await openSqlite(path)
    await until(async () => (await count(open.database, 'garbage')) === 0)
    expect(await count(open.database, 'batches')).toBe(0)
  })
})

import { copyFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { openSqlite, temporaryFolder } from '../helpers/sqlite-harness.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
/** Files that releases have written, with `scripts/store-file.mjs`. */
const files = (await readdir(here)).filter((name) => name.endsWith('.db'))

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)

test('there is a file for each version of the tables', () => {
  expect(files).toEqual(['store-1.db'])
})

describe.each(files)('the stored runs of %s', (name) => {
  test('are all there, and go on', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, name)
    await copyFile(join(here, name), path)
    await using open = await openSqlite(path)
    const { store } = open
    expect(await store.find('ended')).toMatchObject({
      facts: {
        actor: 'chat',
        principal: 'alice',
        startedAt: 1_700_000_000_000,
        meta: bytes(7),
        packed: bytes(1, 2, 3),
      },
      lives: [{ gen: 1, first: 1 }],
      first: 1,
      next: 7,
      end: { seq: 7, outcome: 'done', packed: bytes(42) },
      usage: bytes(5),
    })
    expect((await store.read('ended', 5, 10_000)).batches).toEqual([
      {
        gen: 1,
        first: 4,
        last: 6,
        at: 1_700_000_000_004,
        index: bytes(4, 6),
        bodies: bytes(1, 2, 3, 4),
        open: bytes(9),
      },
    ])
    expect(await store.findKey('k')).toEqual({ run: 'ended', input: 'a' })
    expect((await store.list('alice', undefined, 9)).map(({ id, isParked }) => [id, isParked])).toEqual([
      ['parked', true],
      ['ended', false],
    ])
    expect((await store.abandoned(9)).sort()).toEqual(['live', 'parked'])
    const taken = await store.takeOver('parked')
    if (typeof taken === 'string') throw new Error(taken)
    expect(taken.run).toMatchObject({ parked: bytes(8), inputs: [{ mid: 'm1', type: 'approve', packed: bytes(6) }] })
    const batch = { gen: taken.lease.gen, first: 3, last: 3, at: 1, index: bytes(1), bodies: bytes(1) }
    expect(await taken.lease.append({ batch, end: { seq: 4, outcome: 'done', packed: bytes(1) } })).toBeUndefined()
  })
})

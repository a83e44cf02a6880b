import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { nodeRuntime } from '../../../server/runtime.ts'
import { Database } from '../../../server/stores/sqlite/database.ts'
import type { Part } from '../../../server/stores/sqlite/messages.ts'
import { sqlite } from '../../../server/stores/sqlite/sqlite.ts'
import { Child } from '../../helpers/child-process.ts'
import { Command } from '../../helpers/command.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { root } from '../../helpers/root.ts'
import { openSqlite, temporaryFolder } from '../../helpers/sqlite-harness.ts'
import type { StoreReport } from '../../helpers/store-process.ts'

const facts = { actor: 'count', principal: 'alice', startedAt: 1, packed: new Uint8Array(9) }
const ITEMS: Part = { name: 'items', migrations: ['CREATE TABLE items (n INTEGER PRIMARY KEY, text TEXT) STRICT'] }

/** An open file with one part. */
async function opened(path: string, part: Part = ITEMS): Promise<AsyncDisposable & { database: Database }> {
  const database = new Database(path, nodeRuntime)
  database.define(part)
  await database.open()
  return { database, [Symbol.asyncDispose]: () => database.close() }
}

function refusal(path: string, part: Part = ITEMS): Promise<unknown> {
  return opened(path, part).catch((error: unknown) => error)
}

describe('a SQLite file', () => {
  test('and its folder are for their owner only', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'new', 'deep', 'millrace.db')
    await using open = await openSqlite(path)
    await open.store.begin('r1', { facts })
    const modes = await Promise.all([path, `${path}-wal`, join(folder.path, 'new', 'deep')].map((each) => stat(each)))
    expect(modes.map(({ mode }) => (mode & 0o777).toString(8))).toEqual(['600', '600', '700'])
  })

  test('that others could read is closed to them, and its folder is left as it is', async () => {
    await using folder = await temporaryFolder()
    await chmod(folder.path, 0o755)
    const path = join(folder.path, 'millrace.db')
    await writeFile(path, '', { mode: 0o644 })
    await using _ = await openSqlite(path)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect((await stat(folder.path)).mode & 0o777).toBe(0o755)
  })

  test('that another process has is refused, and is free once that one has ended', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'millrace.db')
    {
      await using other = new Child<StoreReport, never>('store-process.ts', { path, runs: [] })
      await other.said('open')
      await expect(sqlite({ path }).open()).rejects.toMatchObject({
        code: 'store_unavailable',
        message: `${path} is in use by another process: only one server can have it; stop that one, or choose another path`,
      })
    }
    const store = sqlite({ path })
    await store.open()
    await store.close()
  })

  test('that another process has which is about to end is waited for', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'millrace.db')
    const other = new Child<StoreReport, never>('store-process.ts', { path, runs: [] })
    await other.said('open')
    const store = sqlite({ path })
    const opening = store.open()
    await other[Symbol.asyncDispose]()
    await opening
    await store.close()
  })

  test('that this process has open already is refused as well', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'millrace.db')
    await using open = await openSqlite(path)
    await expect(sqlite({ path }).open()).rejects.toMatchObject({ message: expect.stringContaining('is in use') })
    expect(await open.store.find('r1')).toBeUndefined()
  })

  test('is refused with what to do when its place cannot be written', async () => {
    await using folder = await temporaryFolder()
    await writeFile(join(folder.path, 'file'), '')
    await mkdir(join(folder.path, 'folder'))
    expect(await refusal('/sys/millrace.db')).toMatchObject({
      code: 'store_unavailable',
      message: expect.stringMatching(/^\/sys\/millrace\.db cannot be written: let the user of this process write it/),
    })
    for (const path of [join(folder.path, 'file', 'millrace.db'), join(folder.path, 'folder')])
      expect(await refusal(path)).toMatchObject({
        code: 'store_unavailable',
        retryable: false,
        message: expect.stringMatching(/cannot be a file: .*; choose another path$/),
      })
  })

  test('that is none, or is damaged, is refused and left as it is', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'millrace.db')
    await writeFile(path, 'this is a text and no database, and long enough to be looked at. '.repeat(99))
    expect(await refusal(path)).toMatchObject({
      code: 'store_unavailable',
      message: `${path} is damaged: restore a backup, or move the file away to begin without it`,
    })
    expect(await readFile(path, 'utf8')).toContain('this is a text')

    const damaged = join(folder.path, 'damaged.db')
    {
      await using open = await opened(damaged)
      await open.database.write([{ sql: 'INSERT INTO items VALUES (1, ?1)', params: ['x'.repeat(100_000)] }])
    }
    const bytes = await readFile(damaged)
    await writeFile(damaged, bytes.fill(0xaa, 4_096))
    expect(await refusal(damaged)).toMatchObject({ message: expect.stringContaining('is damaged') })
  })

  test('of another application is refused and left as it is', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'millrace.db')
    {
      await using open = await opened(path)
      await open.database.read('PRAGMA application_id = 7')
    }
    expect(await refusal(path)).toMatchObject({
      message: `${path} is not a file of millrace: another application has written it; choose another path`,
    })
  })

  test('of a newer release is refused with the name of what is newer', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'millrace.db')
    const newer = { ...ITEMS, migrations: [...ITEMS.migrations, 'ALTER TABLE items ADD COLUMN more TEXT'] }
    await (await opened(path, newer)).database.close()
    expect(await refusal(path)).toMatchObject({
      retryable: false,
      message: `${path} was written by a newer release of millrace: it has version 2 of the part items, and this release knows 1; install that release`,
    })
    {
      await using open = await opened(path, newer)
      await open.database.read('PRAGMA user_version = 9')
    }
    expect(await refusal(path, newer)).toMatchObject({ message: expect.stringContaining('it has the format 9') })
  })

  test('of an older release is migrated, step by step, and each step once', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'millrace.db')
    {
      await using open = await opened(path)
      await open.database.write([{ sql: 'INSERT INTO items VALUES (1, ?1)', params: ['a'] }])
    }
    const migrations = [
      ...ITEMS.migrations,
      `ALTER TABLE items ADD COLUMN more TEXT NOT NULL DEFAULT 'b'`,
      `UPDATE items SET text = text || more; CREATE INDEX items_by_text ON items (text)`,
    ]
    for (let time = 0; time < 2; time++) {
      await using open = await opened(path, { ...ITEMS, migrations })
      expect(await open.database.read('SELECT * FROM items')).toEqual([{ n: 1, text: 'ab', more: 'b' }])
    }
  })

  test('stays as it was when a migration fails', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'millrace.db')
    await (await opened(path)).database.close()
    const migrations = [...ITEMS.migrations, 'ALTER TABLE items ADD COLUMN more TEXT; SELECT nothing FROM nowhere']
    expect(await refusal(path, { ...ITEMS, migrations })).toMatchObject({ code: 'store_unavailable' })
    await using open = await opened(path)
    expect(await open.database.read('SELECT * FROM items')).toEqual([])
    expect(await open.database.read(`SELECT name FROM pragma_table_info('items')`)).toHaveLength(2)
  })

  test('takes parts that do not know each other', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'millrace.db')
    await (await opened(path)).database.close()
    await (await opened(path, { name: 'others', migrations: ['CREATE TABLE others (n INTEGER)'] })).database.close()
    await using open = await opened(path)
    expect(await open.database.read('SELECT count(*) AS n FROM others')).toEqual([{ n: 0 }])
  })
})

describe('operations on a SQLite file', () => {
  const insert = (n: number, text: string) => ({ sql: 'INSERT INTO items VALUES (?1, ?2)', params: [n, text] })

  test('of one turn share a transaction, and one that is wrong harms no other', async () => {
    await using folder = await temporaryFolder()
    await using open = await opened(join(folder.path, 'millrace.db'))
    const { database } = open
    const all = await Promise.allSettled([
      database.write([insert(1, 'a')]),
      database.write([insert(2, 'b'), insert(1, 'again')]),
      database.read('SELECT nothing FROM nowhere'),
      database.writeIf({ sql: 'UPDATE items SET text = ?1 WHERE n = 9', params: ['z'] }, [insert(3, 'c')]),
      database.writeIf({ sql: 'UPDATE items SET text = ?1 WHERE n = 1', params: ['y'] }, [insert(4, 'd')]),
      database.read('SELECT n, text FROM items ORDER BY n'),
    ])
    expect(all.map(({ status }) => status)).toEqual([
      ...['fulfilled', 'rejected', 'rejected', 'fulfilled', 'fulfilled', 'fulfilled'],
    ])
    expect(all.slice(3).map((each) => 'value' in each && each.value)).toEqual([
      false,
      true,
      [
        { n: 1, text: 'y' },
        { n: 4, text: 'd' },
      ],
    ])
  })

  test('keep numbers up to the largest safe one, text of any language, and bytes', async () => {
    await using folder = await temporaryFolder()
    const part = { name: 'all', migrations: ['CREATE TABLE all_types (i INTEGER, t TEXT, b BLOB) STRICT'] }
    await using open = await opened(join(folder.path, 'millrace.db'), part)
    const values = [
      [Number.MAX_SAFE_INTEGER, 'größer 漢字 👍', Uint8Array.of(0, 255)],
      [Number.MIN_SAFE_INTEGER, '', new Uint8Array()],
      [2 ** 32 + 1, null, new Uint8Array(20_000).fill(7)],
    ] as const
    for (const params of values)
      await open.database.write([{ sql: 'INSERT INTO all_types VALUES (?1, ?2, ?3)', params: [...params] }])
    const rows = await open.database.read('SELECT * FROM all_types')
    expect(rows).toEqual(values.map(([i, t, b]) => ({ i, t, b })))
    for (const { b } of rows) expect((b as Uint8Array).buffer.byteLength).toBe((b as Uint8Array).length)
  })

  test('fail when the thread ends, and the next ones find a new thread with all that was stored', async () => {
    await using folder = await temporaryFolder()
    await using open = await opened(join(folder.path, 'millrace.db'))
    const { database } = open
    await database.write([insert(1, 'a')])
    const underWay = database.write([insert(2, 'b')]).catch((error: unknown) => error)
    await database.crash()
    expect(await underWay).toMatchObject({ code: 'store_unavailable', retryable: true })
    const [row] = await database.read('SELECT count(*) AS n FROM items')
    expect(row!['n']).toBeGreaterThanOrEqual(1)
    expect(await database.write([insert(9, 'z')])).toEqual([1])
  })

  test('fail when they take longer than their time limit, and the ones after it do not', async () => {
    await using folder = await temporaryFolder()
    const clock = handClock()
    const database = new Database(join(folder.path, 'millrace.db'), clock, 5_000)
    database.define(ITEMS)
    await database.open()
    const slow = database.read(
      'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000) SELECT max(x) AS x FROM c',
    )
    const failed = expect(slow).rejects.toMatchObject({
      code: 'store_unavailable',
      message: expect.stringContaining('has not answered for 5000 ms'),
    })
    await new Promise<void>((resolve) => clock.nextTurn(resolve))
    clock.advance(5_000)
    await failed
    expect(await database.write([insert(1, 'a')])).toEqual([1])
    await database.close()
    expect(clock.timers).toBe(0)
  })

  test('are refused before it is open and after it was closed, and those before the close are finished', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'millrace.db')
    const database = new Database(path, nodeRuntime)
    database.define(ITEMS)
    await expect(database.read('SELECT 1')).rejects.toMatchObject({ message: `${path} is not open` })
    await database.open()
    const last = database.write([insert(1, 'a')])
    const closed = database.close()
    await expect(database.read('SELECT 1')).rejects.toMatchObject({ message: `${path} is not open` })
    expect(await last).toEqual([1])
    await closed
    await database.close()
    expect(await database.open()).toBe(2)
    expect(await database.read('SELECT n FROM items')).toEqual([{ n: 1 }])
    await database.close()
  })

  test('keep the process alive until they are answered; an idle store does not, nor does a closed one', async () => {
    await using folder = await temporaryFolder()
    const entry = pathToFileURL(`${root}dist/server/stores/sqlite/sqlite.js`).href
    const script = (path: string, end: string): string => `
      import { sqlite } from '${entry}'
      const store = sqlite({ path: ${JSON.stringify(path)} })
      await store.open()
      const facts = { actor: 'a', principal: 'p', startedAt: 1, packed: new Uint8Array(1) }
      await store.begin('r1', { facts })
      process.stdout.write('begun')
      ${end}`
    for (const [index, end] of ['', 'await store.close()'].entries()) {
      const code = script(join(folder.path, `${index}.db`), end)
      await using command = new Command(process.execPath, ['--input-type=module', '-e', code])
      expect(await command.ended).toMatchObject({ code: 0, stdout: 'begun', stderr: '' })
    }
  })
})

describe('sqlite()', () => {
  test.each([
    [{}, /needs the option path/],
    [{ path: '' }, /needs the option path/],
    [{ path: 'x', keepMs: -1 }, /keepMs must be a whole number of at least 1, not -1/],
    [{ path: 'x', maxBytes: 1.5 }, /maxBytes must be/],
    [{ path: 'x', maxRunBytes: '9' }, /maxRunBytes must be/],
  ])('refuses %j', (options, words) => {
    expect(() => sqlite(options as never)).toThrow(words)
  })
})

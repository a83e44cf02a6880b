import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { nodeRuntime } from '../../../server/runtime.ts'
import type { StoreRuntime } from '../../../server/stores/sqlite/sqlite-store.ts'
import { openSqlite, sqliteHarness, temporaryFolder } from '../../helpers/sqlite-harness.ts'
import { outboxSuite, runStoreSuite } from './run-store-suite.ts'

runStoreSuite('a SQLite file', sqliteHarness)
outboxSuite('a SQLite file', sqliteHarness)

const HOUR_MS = 3_600_000

/** The real runtime, except that a test moves its time on, and sets its wall clock. */
function settable(): StoreRuntime & { passed: number; ahead: number } {
  const clock = {
    ...nodeRuntime,
    passed: 0,
    ahead: 0,
    now: () => clock.passed,
    wallClock: () => 1_700_000_000_000 + clock.passed + clock.ahead,
  }
  return clock
}

const noticeOf = (id: string) => ({ id, body: new Uint8Array([1]) })

describe('notices in a SQLite file are not held up by a clock that is set back', () => {
  test('while the file is open', async () => {
    await using folder = await temporaryFolder()
    const clock = settable()
    await using open = await openSqlite(join(folder.path, 'millrace.db'), {}, clock)
    const { outbox } = open.store
    await outbox.add([noticeOf('a'), noticeOf('b')])
    clock.ahead = -HOUR_MS
    expect(await outbox.take(1, 1)).toMatchObject([{ id: 'a', ageMs: 0 }])
    await outbox.putOff('a', 5_000)
    expect(await outbox.take(9, 60_000)).toMatchObject([{ id: 'b' }])
    clock.passed = 5_000
    expect(await outbox.take(9, 60_000)).toMatchObject([{ id: 'a', attempt: 2, ageMs: 5_000 }])
  })

  test('while it is closed: what is of the future is due, and what was put off waits for an hour at most', async () => {
    await using folder = await temporaryFolder()
    const clock = settable()
    const path = join(folder.path, 'millrace.db')
    {
      await using open = await openSqlite(path, {}, clock)
      const { outbox } = open.store
      await outbox.add([noticeOf('old')])
      clock.passed = 48 * HOUR_MS
      await outbox.add([noticeOf('new'), noticeOf('taken')])
      expect(await outbox.take(9, 60_000)).toHaveLength(3)
      await outbox.putOff('old', HOUR_MS)
      await outbox.putOff('new', HOUR_MS)
    }
    clock.ahead = -24 * HOUR_MS
    await using open = await openSqlite(path, {}, clock)
    const { outbox } = open.store
    const due = await outbox.take(9, 2 * HOUR_MS)
    expect(due).toMatchObject([
      { id: 'new', ageMs: 0 },
      { id: 'taken', ageMs: 0 },
    ])
    clock.passed += HOUR_MS
    expect(await outbox.take(9, 60_000)).toMatchObject([{ id: 'old', ageMs: 25 * HOUR_MS }])
  })
})

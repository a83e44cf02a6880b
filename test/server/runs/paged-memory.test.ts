import { expect, test } from 'vitest'
import { actor } from '../../../server/index.ts'
import { sqlite } from '../../../server/stores/sqlite/sqlite.ts'
import { testServer } from '../../helpers/server.ts'
import { temporaryFolder } from '../../helpers/sqlite-harness.ts'
import { repetitions } from '../../helpers/tier.ts'
import type { WireClient } from '../../helpers/wire-client.ts'

/** Each item has text of its own, so that nothing is shared. */
const ITEM_BYTES = 1_000
const ITEMS = repetitions({ quick: 6_000, full: 60_000 })
/** A few pages of the store, and what is under way. */
const MOST_BYTES = 3 * 2 ** 20

/** What this process holds once all was collected that can be. */
async function held(): Promise<number> {
  for (let n = 0; n < 3; n++) {
    globalThis.gc!()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** What a client has read is its own, and not the server's. */
function forget({ frames, messages }: WireClient): void {
  for (const all of [frames, messages] as unknown[][]) all.length = 0
}

test(`a reader of ${ITEMS / 1_000} MB of a run that goes on costs the server a few pages, however far it has come`, async () => {
  let letOn = (): void => {}
  const isRead = new Promise<void>((resolve) => (letOn = resolve))
  const long = actor({
    async *stream() {
      for (let n = 0; n < ITEMS; n++) yield `${n} `.padEnd(ITEM_BYTES, '.')
      await isRead
    },
  })
  await using folder = await temporaryFolder()
  const limits = { retainEvents: 200, maxCredit: 100, initialCredit: 100, readAhead: 8 }
  await using served = await testServer({ long }, { store: sqlite({ path: `${folder.path}/runs.db` }), limits })
  await using client = await served.client()
  client.start(1, 'long', null, { credit: 100 })
  const { run } = await client.next('opened')
  for (let read = 100; read <= ITEMS; read += 100) {
    await client.until(() => client.count(1) === 100)
    forget(client)
    client.send({ kind: 'credit', sid: 1, n: 100 })
  }
  await client[Symbol.asyncDispose]()
  const before = await held()
  await using late = await served.client()
  late.attach(1, run, 0, { credit: 100 })
  let most = 0
  for (let read = 100; read <= ITEMS; read += 100) {
    await late.until(() => late.count(1) === 100)
    forget(late)
    if (read % 1_000 === 0) most = Math.max(most, (await held()) - before)
    late.send({ kind: 'credit', sid: 1, n: 100 })
  }
  expect(most).toBeLessThan(MOST_BYTES)
  letOn()
  await late.next('end', 1)
})

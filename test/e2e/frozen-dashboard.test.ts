import { expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import { FleetFeed } from '../../dashboard/state/fleet-feed.ts'
import { Latencies } from '../../dashboard/state/latencies.ts'
import { MAX_PREVIEWS, Previews } from '../../dashboard/state/previews.ts'
import { actor, inspector } from '../../server/index.ts'
import { megabytes } from '../helpers/figures.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { TcpProxy } from '../helpers/tcp-proxy.ts'

const ITEMS = 600
const TEXT = 'x'.repeat(1_000)
/** Long enough that no clock ends the connection of the page: nothing but its policies keeps the runs going. */
const NEVER_MS = 600_000
const LIMITS = {
  ...{ maxCredit: 64, initialCredit: 16, readAhead: 16, retainEvents: 100 },
  ...{ heartbeatMs: NEVER_MS, pongMs: NEVER_MS, slowMs: NEVER_MS },
}
/** What server, readers and page may grow by together, in megabytes. The runs say more than twice as much. */
const MAX_GROWTH_MB = 12

test('policy: a dashboard that is frozen slows none of the runs it shows, and what waits for it is bounded', async () => {
  let go = (): void => {}
  const started = new Promise<void>((resolve) => (go = resolve))
  const flood = actor({
    async *stream() {
      yield 'ready'
      await started
      // Their readers keep the text of an answer, and nothing of these.
      for (let n = 0; n < ITEMS; n++) yield { type: 'data', name: 'piece', value: TEXT }
    },
  })
  await using server = await testServer({ flood, inspector: inspector() }, { limits: LIMITS })
  const readers = createClient(server.url, { token: 'alice' })
  const runs = Array.from({ length: MAX_PREVIEWS }, () => readers.start('flood', null))
  const read = runs.map(async (run) => {
    let characters = 0
    for await (const event of run) if (event.type === 'data') characters += String(event.value).length
    return characters
  })
  const ids = await Promise.all(runs.map(async (run) => (await run.opened).id))

  await using network = await TcpProxy.to(Number(new URL(server.url).port))
  const page = createClient(network.url, { token: 'alice', flushMs: 50 })
  const feed = new FleetFeed(page)
  const previews = new Previews(page, new Latencies(), async () => {})
  feed.state.subscribe(() => previews.show(feed.state.get().all))
  const leave = feed.start()
  await eventually(() => ids.every((id) => previews.textOf(id).get() === 'ready'), 'the page reads all runs')

  const [connection] = network.connections
  connection!.throttle(1)
  const passed = connection!.down.bytes
  const before = memoryMb()
  go()
  expect(await Promise.all(read)).toEqual(ids.map(() => ITEMS * TEXT.length))
  // What was sent is garbage, of which one collection does not find all.
  await eventually(() => memoryMb() - before < MAX_GROWTH_MB, 'no more is held than policies let wait')
  // It was frozen all the time, and connected.
  expect(connection!.down.bytes - passed).toBeLessThan(TEXT.length * ITEMS)
  expect(connection!.isCut).toBe(false)
  expect(page.status).toBe('open')

  leave()
  connection!.cut()
  await Promise.all([readers.close(), page.close()])
  expect(server.errors).toEqual([])
})

function memoryMb(): number {
  globalThis.gc?.()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return megabytes(heapUsed + arrayBuffers)
}

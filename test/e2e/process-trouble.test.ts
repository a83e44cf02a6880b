import { expect, test } from 'vitest'
import type { Run } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import type { AnyData } from '../../protocol/events.ts'
import { clientProcess } from '../helpers/client-process.ts'
import type { ServedActors } from '../helpers/served-actors.ts'
import { type ServedStatus, servedProcess } from '../helpers/served-process.ts'
import { repetitions } from '../helpers/tier.ts'
import { wireClient } from '../helpers/wire-client.ts'

const SOON = { quickMs: 5, backoffMs: 20, maxBackoffMs: 40 }

/** Reads a run until it ends or fails; says with what, and how many items had come, each at its place. */
async function readChecked<Data extends AnyData, Result>(
  run: Run<Data, Result>,
): Promise<{ items: number; disorder: number; code?: string; message?: string }> {
  let items = 0
  let disorder = 0
  try {
    for await (const { seq } of run) if (seq !== ++items) disorder++
    return { items, disorder }
  } catch (error) {
    const { code, message } = error as Error & { code: string }
    return { items, disorder, code, message }
  }
}

test('a server killed in the middle of an answer is reported once it has been away too long', async () => {
  await using server = await servedProcess({ limits: { resumeMs: 400 } })
  const statuses: string[] = []
  const client = createClient<ServedActors>(server.url, {
    token: 'alice',
    connectMs: 1_000,
    delays: SOON,
    onStatus: (status) => statuses.push(status),
  })
  const run = client.start('count', { to: 1_000_000, delayMs: 1 })
  const stopped = client.start('sleep', { ms: 600_000 })
  await Promise.all([run.opened, stopped.opened])
  const reading = readChecked(run)
  server.signal('SIGKILL')
  await server.exited
  const killedAt = performance.now()
  const cancelling = stopped.cancel()
  const later = client.start('count', { to: 3 })
  expect(await reading).toMatchObject({ code: 'connection_lost', disorder: 0 })
  expect(performance.now() - killedAt).toBeGreaterThan(350)
  expect(await cancelling).toEqual({ confirmed: false, code: 'connection_lost' })
  await expect(later.result).rejects.toMatchObject({ code: 'connection_lost', retryable: true })
  expect(statuses.slice(0, 3)).toEqual(['connecting', 'open', 'lost'])
  await client.close()
})

test('a restarted server refuses to resume a lost run, and accepts a new one', async () => {
  await using server = await servedProcess()
  const client = createClient<ServedActors>(server.url, { token: 'alice', delays: SOON })
  const run = client.start('count', { to: 1_000_000, delayMs: 1 })
  await run.opened
  const reading = readChecked(run)
  server.signal('SIGKILL')
  await server.exited
  await using again = await servedProcess({ port: Number(new URL(server.url).port) })
  expect(again.url).toBe(server.url)
  expect(await reading).toMatchObject({
    code: 'not_found',
    disorder: 0,
    message: expect.stringContaining('no such run'),
  })
  expect(await client.ask('count', { to: 3 })).toBe('1 2 3 ')
  await client.close()
})

test('the run of a client that was killed waits for it as long as runs do, and is stopped then', async () => {
  await using server = await servedProcess({ limits: { resumeMs: 600 } })
  await using client = clientProcess({ url: server.url, tokens: 100_000_000, reportAt: 1_000 })
  await client.said('read')
  client.signal('SIGKILL')
  await client.exited
  const status = (): Promise<ServedStatus> => server.ask({ type: 'status' })
  while ((await status()).connections > 0);
  expect((await status()).liveRuns).toBe(1)
  while ((await status()).liveRuns > 0);
})

const STREAMS = repetitions({ quick: 50, full: 500 })
const PER_CLIENT = 50

test(`a server with ${STREAMS} live streams that gets SIGTERM sends GOAWAY to every client, loses no item and exits with 0`, async () => {
  const drainMs = 400
  await using server = await servedProcess({
    drainMs,
    limits: { maxRuns: 1_000, startsPerSec: 10_000, startBurst: 10_000 },
  })
  await using wire = await wireClient(server.url)
  const clients = Array.from({ length: STREAMS / PER_CLIENT }, () =>
    createClient<ServedActors>(server.url, { token: 'alice', delays: SOON }),
  )
  const runs = clients.flatMap((client) =>
    Array.from({ length: PER_CLIENT }, () => client.start('count', { to: 1_000_000, delayMs: 2 })),
  )
  await Promise.all(runs.map(({ opened }) => opened))
  const readings = runs.map((run) => readChecked(run))

  const toldAt = performance.now()
  server.signal('SIGTERM')
  expect(await wire.next('goaway')).toMatchObject({ graceMs: expect.any(Number) })
  const goawayMs = performance.now() - toldAt
  await expect(clients[0]!.ask('count', { to: 3 })).rejects.toMatchObject({ code: 'draining', retryable: true })
  const read = await Promise.all(readings)
  const ends = await Promise.all(runs.map(({ end }) => end))
  expect(await wire.closed).toBe(4503)
  expect(await server.exited).toBe(0)
  const exitMs = performance.now() - toldAt
  for (const [n, { items, disorder, code }] of read.entries()) {
    expect({ disorder, code }).toEqual({ disorder: 0, code: 'interrupted' })
    expect(ends[n]).toMatchObject({ outcome: 'error', seq: items + 1, error: { retryable: true } })
  }
  console.log(
    `SIGTERM with ${STREAMS} live streams: GOAWAY after ${goawayMs.toFixed(0)} ms, exit 0 after ${exitMs.toFixed(0)} ms (drain ${drainMs} ms), every item delivered`,
  )
  expect(exitMs).toBeGreaterThan(drainMs)
  await Promise.all(clients.map((client) => client.close()))
})

import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { type ClientOptions, createClient } from '../../client-sdk/node.ts'
import { demoActors } from '../../server/cli/demo-actors.ts'
import { wallMs } from '../helpers/fake-provider-wire.ts'
import { latencies, percentile } from '../helpers/figures.ts'
import type { ServedActors } from '../helpers/served-actors.ts'
import { type ServedProcess, type ServedStatus, servedProcess } from '../helpers/served-process.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { counter } from '../helpers/test-actors.ts'
import { repetitions } from '../helpers/tier.ts'

const CANCELS = repetitions({ quick: 50, full: 1_000 })
/** Cancels in a row while the socket is full. */
const BATCH = 50
/** Its window of 1.9 MB each is more than a network holds that takes what it is given: buffers of 16 MB took 34 MB. */
const MOST_FLOODS = 64
const LIMITS = { startsPerSec: 1e6, startBurst: 1e6 }
/** A figure of a quiet machine is printed; this bound only says that nothing waits for what it should not. */
const GENEROUS_MS = 250

type Client = ReturnType<typeof createClient<ServedActors>>

/** Cancels one `sleep` after another. Returns how long each took from the call to the actor's signal. */
async function cancelSleeps(server: ServedProcess, sleeps: Awaited<ReturnType<typeof startSleeps>>): Promise<number[]> {
  const took: number[] = []
  for (const { run, id } of sleeps) {
    const calledAt = wallMs()
    void run.cancel()
    const { at } = await server.said('aborted', (report) => report.run === id)
    took.push(at - calledAt)
  }
  return took
}

async function startSleeps(client: Client, count: number) {
  const runs = Array.from({ length: count }, () => client.start('sleep', { ms: 600_000 }))
  return Promise.all(runs.map(async (run) => ({ run, id: (await run.opened).id })))
}

/**
 * Floods the client's socket, which nobody reads, until it takes no more and the actors wait. How much that needs is the
 * kernel's matter. Resolves with the bytes that wait in the server.
 */
async function filled(server: ServedProcess, client: Client) {
  const floods: ReturnType<typeof startFlood>[] = []
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    const { buffered, busy } = await server.ask<ServedStatus>({ type: 'status' })
    if (busy >= 0.1) continue
    if (buffered > 0) return { floods, buffered }
    if (floods.length === MOST_FLOODS) throw new Error(`the socket took all of ${MOST_FLOODS} floods`)
    floods.push(startFlood(client))
  }
}

function startFlood(client: Client) {
  return client.start('flood', { tokens: 1_000_000, bytes: 1_024 }, { credit: 1_900 })
}

test(`a cancel reaches the actor of a quiet server at once, ${CANCELS} times`, async () => {
  await using server = await servedProcess({ limits: LIMITS })
  const client = createClient<ServedActors>(server.url, { token: 'alice' })
  await cancelSleeps(server, await startSleeps(client, 20))
  const took: number[] = []
  for (let n = 0; n < CANCELS; n++) took.push(...(await cancelSleeps(server, await startSleeps(client, 1))))
  console.log(`cancel of sleep, call to the actor's signal in another process: ${latencies(took)}`)
  expect(percentile(took, 0.5)).toBeLessThan(GENEROUS_MS)
  await client.close()
})

test(`a cancel comes up while nothing can go down on the same socket, ${CANCELS} times`, async () => {
  // Without its own measure of what the network holds, the server fills the socket to the brim.
  await using server = await servedProcess({
    limits: { ...LIMITS, inflight: 1 << 30, slowMs: 600_000, maxStreams: BATCH + MOST_FLOODS },
  })
  const sockets: WebSocket[] = []
  class Kept extends WebSocket {
    constructor(...args: ConstructorParameters<typeof WebSocket>) {
      super(...args)
      sockets.push(this)
    }
  }
  const options: ClientOptions = { token: 'alice', WebSocket: Kept, delays: { heartbeatMs: 600_000 } }
  const client = createClient<ServedActors>(server.url, options)
  const took: number[] = []
  let least = Number.POSITIVE_INFINITY
  for (let n = 0; n < CANCELS; n += BATCH) {
    const sleeps = await startSleeps(client, BATCH)
    sockets[0]!.pause()
    const { floods, buffered } = await filled(server, client)
    least = Math.min(least, buffered)
    took.push(...(await cancelSleeps(server, sleeps)))
    for (const flood of floods) void flood.cancel()
    sockets[0]!.resume()
    await Promise.all([...sleeps.map(({ run }) => run.cancel()), ...floods.map((flood) => flood.cancel())])
  }
  console.log(`cancel of sleep with a full downstream socket (at least ${least} B waiting): ${latencies(took)}`)
  expect(sockets).toHaveLength(1)
  expect(percentile(took, 0.5)).toBeLessThan(GENEROUS_MS)
  await client.close()
})

test('nothing reaches the iterator after a cancel, whenever it comes', async () => {
  const numbers = counter()
  await using server = await testServer({ count: numbers }, { limits: LIMITS })
  const client = createClient<{ count: typeof numbers }>(server.url, { token: 'alice' })
  for (let round = 0; round < CANCELS; round++) {
    const after = round % 100
    const run = client.start('count', 1_000_000, { credit: 64 })
    const events = run[Symbol.asyncIterator]()
    for (let n = 0; n < after; n++) expect(await events.next()).toMatchObject({ value: { seq: n + 1 } })
    // One that is waited for already, and one asked for afterwards.
    const waiting = after % 2 === 0 ? undefined : events.next()
    const cancelled = run.cancel()
    expect(await events.next()).toEqual({ value: undefined, done: true })
    expect(await cancelled).toMatchObject({ outcome: 'cancelled', settled: true, by: 'client', reason: 'user' })
    expect(await events.next()).toEqual({ value: undefined, done: true })
    const first = await waiting
    expect(first?.done !== false || first.value.seq === after + 1).toBe(true)
  }
  await eventually(() => server.server.liveRuns === 0, 'every slot is free')
  await client.close()
})

test('a stubborn actor is over for its client within the grace, and keeps its slot until it ends', async () => {
  await using server = await testServer(demoActors, { limits: { cancelGraceMs: 60 } })
  const client = createClient<typeof demoActors>(server.url, { token: 'alice' })
  const run = client.start('stubborn', { ms: 600 })
  await run.opened
  const receipt = await run.cancel()
  expect(receipt).toMatchObject({ outcome: 'cancelled', confirmed: true, settled: false, unsettled: ['actor'] })
  expect(server.server.liveRuns).toBe(1)
  await expect(run.result).rejects.toMatchObject({ code: 'cancelled', receipt: { settled: false } })
  await eventually(() => server.server.liveRuns === 0, 'the slot is free')
  await client.close()
})

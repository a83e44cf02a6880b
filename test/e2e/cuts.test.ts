import { afterAll, beforeAll, expect, test } from 'vitest'
import type { StreamEvent } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import { DEFAULT_LIMITS, decodeDown, decodeUp } from '../../protocol/index.ts'
import { demoActors } from '../../server/cli/demo-actors.ts'
import { actor } from '../../server/index.ts'
import { itemsOf } from '../helpers/frame-items.ts'
import { mixedActor, mixedEvents, withoutTimes } from '../helpers/mixed-run.ts'
import { readAll } from '../helpers/read-all.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { type TestServer, testServer } from '../helpers/server.ts'
import { type Fault, type Learns, TcpProxy } from '../helpers/tcp-proxy.ts'
import { counted, counter, latch } from '../helpers/test-actors.ts'
import { repetitions } from '../helpers/tier.ts'

/** Coming back soon: these tests are about what is missed, not about how long one waits. */
const DELAYS = { quickMs: 2, backoffMs: 2, maxBackoffMs: 8, heartbeatMs: 10, pongMs: 15, tryMs: 100 }
/** Nor are they about how often one may come. */
const LIMITS = { startsPerSec: 1e6, startBurst: 1e6, messagesPerSec: 1e6, maxConnections: 10_000 }
const LEARNS: Learns[] = ['both', 'client', 'server']

const executions = { count: 0 }
const halfway = latch()
const actors = {
  mixed: mixedActor(executions),
  /** Counts to 100, and stops at 36 until it may go on. */
  hundred: actor({
    async *stream() {
      for (let n = 1; n <= 100; n++) {
        yield `${n} `
        if (n === 36) await halfway.opened
      }
    },
  }),
}
const { maxDepth, maxValues, maxDown, maxMessage } = DEFAULT_LIMITS
const SCAN = { maxDepth, maxValues, maxBytes: Math.max(maxDown, maxMessage) }
let server: TestServer<typeof actors>

beforeAll(async () => {
  server = await testServer(actors, { limits: LIMITS })
})
afterAll(() => server[Symbol.asyncDispose]())

type Experiment = {
  rounds: number
  burst?: number
  credit?: number
  flushMs?: number
  /** What happens to each connection. */
  plan: (n: number) => Fault
}

type Outcome = { events: object[]; result: unknown; executions: number; proxy: TcpProxy }

/** Reads one run of `mixed` to its end over a network that does what `plan` says. */
async function readThrough({ rounds, burst = 1, credit = 256, flushMs = 0, plan }: Experiment): Promise<Outcome> {
  await using proxy = await TcpProxy.to(Number(new URL(server.url).port))
  proxy.plan = plan
  const before = executions.count
  const client = createClient<typeof actors>(proxy.url, { token: 'alice', delays: DELAYS, flushMs })
  const run = client.start('mixed', { rounds, burst }, { credit })
  const events = await readAll(run)
  const result = await run.result
  await client.close()
  return { events: withoutTimes(events), result, executions: executions.count - before, proxy }
}

/** The events that every reading of a run must give. Numbers are those of the log, where hidden items count too. */
let uninterrupted: object[]
let said: number
const ROUNDS = repetitions({ quick: 2, full: 4 })

beforeAll(async () => {
  const { events, result } = await readThrough({ rounds: ROUNDS, plan: () => ({}) })
  uninterrupted = events
  said = [...mixedEvents(ROUNDS)].length
  expect(events).toHaveLength(said)
  expect(result).toEqual({ said })
})

test.each(LEARNS)('a cut at every frame of a run changes nothing for its reader (%s learn of it)', async (learns) => {
  const { proxy } = await readThrough({ rounds: ROUNDS, plan: () => ({}) })
  const messages = proxy.connections[0]!.down.messages
  const frames = messages.map((message) => decodeDown(message, SCAN).length)
  const perMessage = Math.max(...frames)
  const total = frames.reduce((sum, n) => sum + n, 0)
  // A message is atomic: with few frames in each, cutting before every message is cutting at every frame that matters.
  expect(perMessage).toBeLessThanOrEqual(4)
  let met = 0
  for (let k = 0; k <= messages.length; k++) {
    const plan = (n: number): Fault => (n === 0 ? { messagesDown: k, learns } : {})
    const cut = await readThrough({ rounds: ROUNDS, plan })
    expect(cut.events, `cut before message ${k}`).toEqual(uninterrupted)
    expect(cut.result).toEqual({ said })
    expect(cut.executions, `cut before message ${k}`).toBe(1)
    if (cut.proxy.connections.length > 1) met++
  }
  console.log(
    `cut at every frame, ${learns} learning: ${total} frames in ${messages.length} messages, ${met} cuts met, list equal each time`,
  )
  expect(met).toBeGreaterThan(messages.length * 0.8)
})

const RANDOM_CUTS = repetitions({ quick: 30, full: 500, long: 10_000 })

test(`${RANDOM_CUTS} runs cut at random bytes in both directions arrive whole, each item once`, async () => {
  const seed = Date.now() | 0
  let cuts = 0
  for (let n = 0; n < RANDOM_CUTS; n++) {
    const random = seededRandom(seed + n)
    const upTo = (most: number): number => Math.floor(random() * most)
    const faults = Array.from({ length: 1 + upTo(4) }, (): Fault => {
      const learns = LEARNS[upTo(LEARNS.length)]!
      return random() < 0.7 ? { bytesDown: upTo(5_000), learns } : { bytesUp: upTo(900), learns }
    })
    const settings = { rounds: ROUNDS, burst: 1 + upTo(20), credit: 1 + upTo(40), flushMs: upTo(5) }
    const label = `seed ${seed + n}: ${JSON.stringify({ ...settings, faults })}`
    const read = await readThrough({ ...settings, plan: (n) => faults[n] ?? {} })
    expect(read.events, label).toEqual(uninterrupted)
    expect(read.result, label).toEqual({ said })
    expect(read.executions, label).toBe(1)
    cuts += read.proxy.connections.length - 1
  }
  console.log(`random cuts: seeds ${seed} to ${seed + RANDOM_CUTS - 1}, ${cuts} cuts, every list whole, each run once`)
  expect(cuts).toBeGreaterThan(RANDOM_CUTS / 2)
})

test('after a cut at 36 of 100 items the rest comes once, for one message upstream', async () => {
  await using proxy = await TcpProxy.to(Number(new URL(server.url).port))
  // No heartbeat: it would be a message too.
  const client = createClient<typeof actors>(proxy.url, { token: 'alice', delays: { quickMs: 2 } })
  const run = client.start('hundred', null)
  const events: StreamEvent[] = []
  for await (const event of run) {
    events.push(event)
    if (event.seq !== 36) continue
    const back = proxy.next()
    proxy.connections[0]!.cut()
    await back
    halfway.open()
  }
  expect(events.map((event) => ({ ...event, at: 0 }))).toEqual(
    Array.from({ length: 100 }, (_, i) => ({ type: 'token', text: `${i + 1} `, seq: i + 1, at: 0 })),
  )
  const [, second, ...more] = proxy.connections
  expect(more).toEqual([])
  const frames = second!.up.messages.map((message) => decodeUp(message, SCAN))
  expect(frames).toMatchObject([
    [
      { kind: 'hello', attempt: 2 },
      { kind: 'attach', after: 36 },
    ],
  ])
  const resumed = second!.down.messages.flatMap((message) => decodeDown(message, SCAN)).flatMap(itemsOf)
  expect(resumed.map(({ seq }) => seq)).toEqual(Array.from({ length: 64 }, (_, i) => i + 37))
  await client.close()
})

test('forty runs on one connection survive cut after cut under the default limits', async () => {
  await using usual = await testServer(demoActors)
  await using proxy = await TcpProxy.to(Number(new URL(usual.url).port))
  const delays = { quickMs: 2, backoffMs: 20, maxBackoffMs: 200 }
  const client = createClient<typeof demoActors>(proxy.url, { token: 'alice', delays })
  const runs = Array.from({ length: 40 }, () => client.start('count', { to: 300, delayMs: 2 }, { credit: 32 }))
  await Promise.all(runs.map(({ opened }) => opened))
  const reading = Promise.all(runs.map(async (run) => (await readAll(run.text())).join('')))
  for (let n = 0; n < 3; n++) {
    const { down } = proxy.connections.at(-1)!
    const bytes = down.bytes + 5_000
    const back = proxy.next()
    await down.until(() => down.bytes > bytes)
    proxy.connections.at(-1)!.cut()
    await back
  }
  const texts = await reading
  expect(new Set(texts)).toEqual(new Set([counted(1, 300)]))
  await client.close()
})

test('sixty starts whose answers are lost in a cut run once each, though all are sent again at once', async () => {
  const numbers = counter()
  await using usual = await testServer({ count: numbers })
  await using proxy = await TcpProxy.to(Number(new URL(usual.url).port))
  proxy.plan = (n) => (n === 0 ? { bytesDown: 300 } : {})
  const delays = { quickMs: 2, backoffMs: 20, maxBackoffMs: 200 }
  const client = createClient<{ count: typeof numbers }>(proxy.url, { token: 'alice', delays })
  const answers = await Promise.all(Array.from({ length: 60 }, () => client.start('count', 3).result.catch(String)))
  expect(new Set(answers)).toEqual(new Set([counted(1, 3)]))
  expect(numbers.runs).toHaveLength(60)
  expect(proxy.connections).toHaveLength(2)
  await client.close()
})

import { expect, test } from 'vitest'
import type { StreamEvent } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import { demoActors } from '../../server/cli/demo-actors.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { type Learns, TcpProxy } from '../helpers/tcp-proxy.ts'
import { repetitions } from '../helpers/tier.ts'

const DELAYS = { quickMs: 2, backoffMs: 2, maxBackoffMs: 8, heartbeatMs: 20, pongMs: 20, tryMs: 150 }
const LIMITS = { startsPerSec: 1e6, startBurst: 1e6, messagesPerSec: 1e6, maxConnections: 10_000 }
const LEARNS: Learns[] = ['both', 'client', 'server']
const RUNS = repetitions({ quick: 8, full: 150 })
const INPUTS = 24
/** Fewer than an actor may leave waiting. */
const AT_ONCE = 8

test(`inputs sent while the connection is cut again and again are taken once and in order, in ${RUNS} runs`, async () => {
  const seed = Date.now() | 0
  await using server = await testServer(demoActors, { limits: LIMITS })
  let cuts = 0
  for (let n = 0; n < RUNS; n++) {
    const random = seededRandom(seed + n)
    await using proxy = await TcpProxy.to(Number(new URL(server.url).port))
    proxy.plan = (connection) => {
      const learns = LEARNS[Math.floor(random() * LEARNS.length)]!
      const bytes = 250 + Math.floor(random() * 900)
      // A client that has never got through gives up after eight tries.
      if (connection > 5) return {}
      return random() < 0.5 ? { bytesUp: bytes, learns } : { bytesDown: bytes, learns }
    }
    const client = createClient<typeof demoActors>(proxy.url, { token: 'alice', delays: DELAYS })
    const run = client.start('echo', null)
    const said: string[] = []
    const reading = (async () => {
      for await (const text of run.text()) said.push(text)
    })()
    const sent = Array.from({ length: INPUTS }, (_, n) => `input ${n}`)
    for (let at = 0; at < INPUTS; at += AT_ONCE) {
      const taken = await Promise.all(sent.slice(at, at + AT_ONCE).map((text) => run.send('message', text)))
      expect(taken.every((status) => status === 'accepted' || status === 'duplicate')).toBe(true)
      await eventually(() => said.length >= at + AT_ONCE, `the answers to seed ${seed + n}`)
    }
    expect(said, `seed ${seed + n}`).toEqual(sent)
    expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', confirmed: true })
    await reading
    cuts += proxy.connections.length - 1
    await client.close()
  }
  console.log(`inputs over cuts: seeds ${seed} to ${seed + RUNS - 1}, ${cuts} cuts, each input taken once and in order`)
  expect(cuts).toBeGreaterThan(RUNS / 2)
})

test(`a cancel called around a cut stops the run and is confirmed, in ${RUNS} runs`, async () => {
  const seed = Date.now() | 0
  await using server = await testServer(demoActors, { limits: LIMITS })
  for (let n = 0; n < RUNS; n++) {
    const random = seededRandom(seed + n)
    await using proxy = await TcpProxy.to(Number(new URL(server.url).port))
    const client = createClient<typeof demoActors>(proxy.url, { token: 'alice', delays: DELAYS })
    const run = client.start('count', { to: 1_000_000, delayMs: 1 })
    await run.opened
    const events: StreamEvent[] = []
    const reading = (async () => {
      for await (const event of run) events.push(event)
    })()
    await eventually(() => events.length > 2, 'the run has begun')
    const learns = LEARNS[Math.floor(random() * LEARNS.length)]!
    const cut = (): void => proxy.connections[0]!.cut(learns)
    // Before, at the same time as, or after the cancel has left.
    const order = Math.floor(random() * 3)
    if (order === 0) cut()
    if (order === 0 && random() < 0.5) await new Promise((resolve) => setImmediate(resolve))
    const seen = events.length
    const cancelled = run.cancel()
    if (order === 1) cut()
    if (order === 2) {
      await new Promise((resolve) => setImmediate(resolve))
      cut()
    }
    expect(await cancelled, `seed ${seed + n}`).toMatchObject({ outcome: 'cancelled', confirmed: true, settled: true })
    await reading
    expect(events).toHaveLength(seen)
    await eventually(() => server.server.liveRuns === 0, `seed ${seed + n}: the run has stopped`)
    await client.close()
  }
  console.log(`cancels around a cut: seeds ${seed} to ${seed + RUNS - 1}, each confirmed with a receipt`)
})

test('views of every policy survive cuts with the same text, or report what they skipped', async () => {
  await using server = await testServer(demoActors, { limits: LIMITS })
  await using proxy = await TcpProxy.to(Number(new URL(server.url).port))
  proxy.plan = (connection) => (connection < 12 ? { bytesDown: 700 + 300 * connection } : {})
  const direct = createClient<typeof demoActors>(server.url, { token: 'alice' })
  const cutOff = createClient<typeof demoActors>(proxy.url, { token: 'alice', delays: DELAYS })
  const run = direct.start('count', { to: 400, delayMs: 1 })
  const { id } = await run.opened
  const views = (['log', 'merge', 'pace', 'latest'] as const).map((policy) =>
    cutOff.attach('count', id, { policy, credit: 40 }),
  )
  const said = await Promise.all(
    [run, ...views].map(async (view) => {
      let text = ''
      let next = 1
      for await (const event of view) {
        if (event.type === 'gap') {
          expect(event).toMatchObject({ from: next, reason: 'policy' })
          next = event.next
        } else if (event.type === 'token') {
          text += event.text
          next = event.seq + 1
        }
      }
      return { text, next }
    }),
  )
  const whole = { text: Array.from({ length: 400 }, (_, n) => `${n + 1} `).join(''), next: 401 }
  expect(said.slice(0, 4)).toEqual([whole, whole, whole, whole])
  expect(said[4]?.next).toBe(401)
  expect(said[4]?.text.endsWith('400 ')).toBe(true)
  expect(proxy.connections.length).toBeGreaterThan(1)
  await Promise.all([direct.close(), cutOff.close()])
})

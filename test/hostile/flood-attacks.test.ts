import { expect, test } from 'vitest'
import { encodeUp } from '../../protocol/encode.ts'
import { bystander } from '../helpers/bystander.ts'
import { OPCODE, RawSocket, rawFrame } from '../helpers/raw-socket.ts'
import { growth, type Measured, ServerProcess } from '../helpers/server-process.ts'
import { repetitions } from '../helpers/tier.ts'
import { abandonSessions, askAndLeave, attackFor, neverReads, socketPings, startAndCancel } from './flooding-clients.ts'

const MIB = 1_048_576
const raised = { startsPerSec: 1_000_000, startBurst: 1_000_000, messagesPerSec: 1_000_000, maxRuns: 100_000 }

function expectBounded(before: Measured, after: Measured): void {
  expect(after.failures).toEqual([])
  expect(after.fds - before.fds, 'files').toBeLessThanOrEqual(0)
  expect(after.rss - before.rss, 'memory').toBeLessThan(50 * MIB)
}

const pairs = repetitions({ quick: 1_000, full: 50_000, long: 500_000 })
test(`${pairs} starts and cancels, 5,000 a second, take no memory for good`, async () => {
  await using server = await ServerProcess.start({ ...raised, retainPrincipal: 4 * MIB })
  await using quiet = await server.client({ auth: 'bob' })
  const client = await server.client()
  // So many that what is kept of ended runs has reached its limit, also where a cancel comes before its run has begun.
  await startAndCancel(client, 12_000, 5_000, 1)
  const before = await server.quiet(2)
  const watching = await bystander(quiet)
  await startAndCancel(client, pairs, 5_000, 12_001)
  const { rttMaxMs } = await watching.finish()
  const after = await server.quiet(2)
  client.cut()
  console.log(`start/cancel: ${pairs} pairs, ${growth(before, after)}, bystander RTT max ${rttMaxMs} ms`)
  expectBounded(before, after)
  expect(after.heap - before.heap).toBeLessThan(5 * MIB)
})

const lists = repetitions({ quick: 300, full: 20_000, long: 100_000 })
test(`${lists} lists of 200 runs that are asked for and left take no memory for good, and stop no bystander`, async () => {
  await using server = await ServerProcess.start({ ...raised, maxStreams: 300 })
  await using quiet = await server.client({ auth: 'bob' })
  const starter = await server.client()
  for (let sid = 1; sid <= 200; sid++)
    starter.start(sid, 'sleep', { ms: 3_600_000 }, { meta: { note: 'n'.repeat(900) } })
  await starter.next('opened', 200)
  const client = await server.client()
  await askAndLeave(client, 200, 1)
  const before = await server.measure()
  const watching = await bystander(quiet)
  await askAndLeave(client, lists, 201)
  const { rttMaxMs } = await watching.finish()
  const after = await server.measure()
  console.log(`lists: ${lists}, ${growth(before, after)}, bystander RTT max ${rttMaxMs} ms`)
  expectBounded(before, after)
  client.cut()
  starter.cut()
})

const sessions = repetitions({ quick: 100, full: 10_000 })
test(`${sessions} sessions that are abandoned with a run take bounded memory`, async () => {
  await using server = await ServerProcess.start()
  await using quiet = await server.client({ auth: 'bob' })
  await abandonSessions(server, 300, () => 'alice')
  const before = await server.measure()
  const watching = await bystander(quiet)
  await abandonSessions(server, sessions, () => 'alice')
  const { rttMaxMs } = await watching.finish()
  const after = await server.measure()
  console.log(
    `abandoned: ${sessions} sessions, ${after.liveRuns} runs live on, ${growth(before, after)}, bystander RTT max ${rttMaxMs} ms`,
  )
  expectBounded(before, { ...after, fds: after.fds - after.connections + before.connections })
  expect(after.liveRuns).toBeLessThanOrEqual(256)
})

test('a client that pings and never reads is cut off, and costs no memory', async () => {
  await using server = await ServerProcess.start()
  const most = repetitions({ quick: 100 * MIB, full: 500 * MIB })
  const before = await server.measure()
  const sent = await neverReads(server.url, socketPings(), most)
  const one = rawFrame(encodeUp([{ kind: 'ping', nonce: 1 }]))
  const asked = await neverReads(server.url, Buffer.concat(Array.from({ length: 5_000 }, () => one)), most)
  const after = await server.quiet()
  console.log(`ping floods: cut off after ${sent} and ${asked} bytes, ${growth(before, after)}`)
  expect(Math.max(sent, asked)).toBeLessThan(most)
  expectBounded(before, after)
})

const silent = repetitions({ quick: 100, full: 1_000 })
test(`${silent} sockets that never finish what they began are closed, and leave nothing behind`, async () => {
  await using server = await ServerProcess.start({ helloMs: 400 })
  const before = await server.measure()
  const unfinished = [Buffer.alloc(0), Buffer.of(0x82), rawFrame(Buffer.alloc(60_000)).subarray(0, 50_000)]
  unfinished.push(rawFrame(Buffer.alloc(10), { fin: false }))
  const endings = await Promise.all(
    Array.from({ length: silent }, async (_, n) => {
      const raw = await RawSocket.open(server.url)
      raw.write(unfinished[n % unfinished.length]!)
      return await raw.end()
    }),
  )
  expect(new Set(endings)).toEqual(new Set([4408]))
  const after = await server.quiet()
  console.log(`half-open: ${silent} sockets, ${growth(before, after)}`)
  expectBounded(before, after)
})

const trickled = repetitions({ quick: 500, full: 15_000 })
test(`a START of ${trickled} bytes that comes one byte at a time is served`, async () => {
  await using server = await ServerProcess.start()
  await using raw = await RawSocket.open(server.url)
  const before = await server.measure()
  raw.message(encodeUp([{ kind: 'hello', auth: 'alice', client: new Uint8Array(16), attempt: 1 }]))
  await raw.until(() => raw.frames.length > 0, 'WELCOME')
  const input = 'x'.repeat(trickled)
  const bytes = rawFrame(encodeUp([{ kind: 'start', sid: 1, actor: 'echo', input, options: {} }]))
  for (const byte of bytes) {
    raw.write(Buffer.of(byte))
    await new Promise((resolve) => setImmediate(resolve))
  }
  await raw.until(() => raw.frames.filter(({ opcode }) => opcode === OPCODE.binary).length > 1, 'OPENED')
  console.log(`trickle: ${bytes.length} bytes, ${growth(before, await server.measure())}`)
})

const attackMs = repetitions({ quick: 500, full: 20_000 })
test(`eight clients that send the worst messages for ${attackMs} ms do not stop a bystander`, async () => {
  await using server = await ServerProcess.start()
  await using quiet = await server.client({ auth: 'bob' })
  const worst = [
    Buffer.alloc(262_144, Uint8Array.of(0x91, 0x60)),
    Buffer.alloc(262_144, Uint8Array.of(0x92, 0x10, 0x01)).subarray(0, 262_143),
    Buffer.concat([Buffer.from('940201a161db0003ff00', 'hex'), Buffer.alloc(0x3ff00, 0x61)]),
    Buffer.concat([Buffer.from('940201a161dc3ff0', 'hex'), Buffer.alloc(0x3ff0, 0xc0)]),
    Buffer.alloc(65_536, 0x91),
    Buffer.concat(
      Array.from({ length: 20_000 }, (_, n) =>
        encodeUp([{ kind: 'start', sid: n + 1, actor: '', input: null, options: {} }]),
      ),
    ),
    Buffer.alloc(262_144, 0xdd),
    Buffer.alloc(300_000),
  ]
  await Promise.all(worst.map((message) => attackFor(attackMs / 5, server.url, message)))
  const before = await server.quiet(1)
  const watching = await bystander(quiet)
  const attacks = await Promise.all(worst.map((message) => attackFor(attackMs, server.url, message)))
  const { items, rttMaxMs } = await watching.finish()
  const after = await server.quiet(1)
  const sum = attacks.reduce((a, b) => a + b)
  console.log(
    `worst messages: ${sum} in ${attackMs} ms, ${growth(before, after)}, bystander ${items} items, RTT max ${rttMaxMs} ms`,
  )
  expectBounded(before, after)
})

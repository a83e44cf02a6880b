import { Packr } from 'msgpackr'
import { expect, test } from 'vitest'
import { encodeUp } from '../../protocol/encode.ts'
import { ProtocolFault } from '../../protocol/errors.ts'
import type { UpFrame } from '../../protocol/frames.ts'
import { demoActors } from '../../server/cli/demo-actors.ts'
import { decodeClient } from '../../server/log/payload.ts'
import { scanLimits } from '../helpers/codec-paths.ts'
import { RawSocket } from '../helpers/raw-socket.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { counted, counter, silent } from '../helpers/test-actors.ts'

const packr = new Packr({ useRecords: false, variableMapSize: true, int64AsType: 'number' })

/** One value of every type, and the odd ones of each. */
const values: unknown[] = [
  null,
  true,
  0,
  -1,
  0.5,
  Number.NaN,
  2 ** 53 - 1,
  2 ** 53,
  '',
  'x'.repeat(1_000),
  new Uint8Array(100),
  [],
  { a: { b: 1 } },
]

/** A well-formed example of each frame; stream 1 is open. */
const examples: unknown[][] = [
  [
    0x02,
    2,
    'echo',
    null,
    {
      key: 'k',
      credit: 5,
      policy: 'pace',
      rate: 5,
      onDetach: 'pause',
      detachMs: 5,
      timeoutMs: 5,
      ts: true,
      ask: false,
      meta: {},
    },
  ],
  [0x03, 2, 'r_1', 5, { gen: 1, credit: 5, policy: 'log', rate: 5, ts: true }],
  [0x04, 1, 5],
  [0x05, 1, 1, 'note', ['call', 'c1']],
  [0x06, 1, 'm', 'message', 'data'],
  [0x07, 1],
  [0x08, 1, 5],
  [0x10, 5],
  [0x11, 5],
]

/** Each example with each element, and each key of its options, in turn being each value. */
function* variants(): Generator<Uint8Array> {
  for (const example of examples) {
    for (const [place, element] of example.entries()) {
      for (const value of values) yield packr.pack(example.with(place, value))
      if (typeof element !== 'object' || element === null || Array.isArray(element)) continue
      for (const key of Object.keys(element))
        for (const value of values) yield packr.pack(example.with(place, { ...element, [key]: value }))
    }
  }
}

function isWellFormed(message: Uint8Array): boolean {
  try {
    decodeClient(message, scanLimits.up)
    return true
  } catch (error) {
    if (error instanceof ProtocolFault) return false
    throw error
  }
}

test('a value of any type at any place of any frame is refused with 4400 or does no harm', async () => {
  await using server = await testServer(demoActors, {
    authenticate: ({ headers }) => ({ id: headers.get('x-who') ?? '' }),
  })
  const messages = variants()
  const wrong: string[] = []
  let refused = 0
  let accepted = 0
  async function one(message: Uint8Array, n: number): Promise<void> {
    await using raw = await RawSocket.open(server.url, { 'x-who': String(n) })
    raw.message(
      encodeUp([
        { kind: 'hello', client: new Uint8Array(16), attempt: 1 },
        { kind: 'start', sid: 1, actor: 'echo', input: null, options: {} },
      ]),
    )
    raw.message(message)
    const well = isWellFormed(message)
    if (!well) {
      refused++
      const ending = await raw.end()
      if (ending !== 4400) wrong.push(`${Buffer.from(message).toString('hex')}: ${ending}`)
      return
    }
    accepted++
    raw.message(encodeUp([{ kind: 'ping', nonce: 99 }]))
    const sid = packr.unpack(message) as unknown[]
    const falls = (sid[0] === 2 || sid[0] === 3) && sid[1] === 1
    if (falls) {
      const ending = await raw.end()
      if (ending !== 4400) wrong.push(`${Buffer.from(message).toString('hex')}: ${ending}`)
      return
    }
    await raw
      .until(() => raw.frames.some(({ payload }) => payload.includes(Buffer.of(0x92, 0x11, 99))), 'PONG')
      .catch((error: unknown) => wrong.push(`${Buffer.from(message).toString('hex')}: ${String(error)}`))
  }
  let n = 0
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const message of messages) await one(message, ++n)
    }),
  )
  expect(wrong).toEqual([])
  console.log(`types: ${refused} refused, ${accepted} accepted`)
  expect(refused).toBeGreaterThan(200)
  expect(accepted).toBeGreaterThan(80)
  expect(server.errors).toEqual([])
})

test('credit of 2^53 - 1 again and again leaves no more than the largest balance', async () => {
  const actor = counter()
  await using server = await testServer({ actor }, { limits: { maxCredit: 50, initialCredit: 10, readAhead: 5 } })
  await using client = await server.client()
  client.start(1, 'actor', 1_000, { credit: 2 ** 53 - 1, rate: 0 })
  for (let n = 0; n < 20; n++) client.send({ kind: 'credit', sid: 1, n: 2 ** 53 - 1 })
  expect((await client.next('opened', 1)).credit).toBe(50)
  client.send({ kind: 'rate', sid: 1, perSec: null })
  await client.until(() => client.count(1) === 50, '50 items')
  await client.settle()
  expect(client.text(1)).toBe(counted(1, 50))
  expect(actor.runs[0]?.count).toBeLessThanOrEqual(56)
})

test('a stream id that was used, is lower, or is skipped is a fault or is fine, as the protocol says', async () => {
  await using server = await testServer({ silent: silent() })
  for (const [sids, closes] of [
    [[1, 1], true],
    [[2, 1], true],
    [[5, 2 ** 53 - 1], false],
    [[2 ** 53 - 1, 2 ** 53 - 1], true],
    [[1, 3, 2], true],
  ] as [number[], boolean][]) {
    const client = await server.client()
    for (const sid of sids) client.start(sid, 'silent')
    if (closes) expect(await client.closed).toBe(4400)
    else {
      await client.settle()
      client.cut()
    }
  }
})

test('a cancel may come twice, after the end, for nothing, and 10,000 times', async () => {
  await using server = await testServer({ silent: silent() }, { limits: { messagesPerSec: 100_000 } })
  await using client = await server.client()
  client.start(1, 'silent')
  client.send(...Array.from({ length: 5_000 }, (): UpFrame => ({ kind: 'cancel', sid: 1, code: 2 ** 53 - 1 })))
  const { data } = await client.next('end', 1)
  expect(data).toMatchObject({ code: 255, settled: true })
  client.send(...Array.from({ length: 5_000 }, (_, n): UpFrame => ({ kind: 'cancel', sid: n + 1 })))
  await client.settle()
  expect(client.frames.filter(({ kind }) => kind === 'end')).toHaveLength(1)
  await eventually(() => server.server.liveRuns === 0, 'the run is over')
})

test('inputs by the thousand fill no more than their slots, and the run goes on', async () => {
  await using server = await testServer({ silent: silent(), echo: demoActors.echo }, { limits: { maxInputs: 4 } })
  await using client = await server.client()
  client.start(1, 'echo', null, { credit: 4 })
  await client.next('opened', 1)
  const mids = Array.from({ length: 2_000 }, (_, n) => `m${n}`)
  client.send(...mids.map((mid): UpFrame => ({ kind: 'input', sid: 1, mid, type: 'message', data: 'x'.repeat(50) })))
  await client.settle()
  const statuses = client.frames.flatMap((frame) => (frame.kind === 'input_ack' ? [frame.status] : []))
  expect(statuses).toHaveLength(2_000)
  expect(statuses.filter((status) => status === 'accepted').length).toBeLessThan(100)
  expect(new Set(statuses)).toEqual(new Set(['accepted', 'busy']))
  client.send({ kind: 'cancel', sid: 1 })
  await client.next('end', 1)
})

test('a client that sends PINGs and reads no PONG is closed 4430', async () => {
  await using server = await testServer(
    { silent: silent() },
    { limits: { inflight: 3_000, slowMs: 100, messagesPerSec: 100_000 } },
  )
  await using raw = await RawSocket.open(server.url)
  raw.message(encodeUp([{ kind: 'hello', auth: 'alice', client: new Uint8Array(16), attempt: 1 }]))
  const asking = (async () => {
    while (raw.ending === undefined) {
      raw.message(encodeUp([{ kind: 'ping', nonce: 2 ** 50 }]))
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  expect(await raw.end()).toBe(4430)
  await asking
})

import { expect, test } from 'vitest'
import { decodeDown } from '../../protocol/decode.ts'
import { encodeUp } from '../../protocol/encode.ts'
import type { UpFrame } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { demoActors } from '../../server/cli/demo-actors.ts'
import { bystander } from '../helpers/bystander.ts'
import { ticker } from '../helpers/bystander-actor.ts'
import { scanLimits } from '../helpers/codec-paths.ts'
import { OPCODE, RawSocket } from '../helpers/raw-socket.ts'
import { type TestServer, testServer } from '../helpers/server.ts'
import { messageOf, type Vector, vectors } from '../helpers/vectors.ts'

const AT_ONCE = 8
const { maxMessage, beforeWelcomeBytes } = DEFAULT_LIMITS
const upward = vectors.filter(({ direction }) => direction === 'up')
const refused = upward.filter(({ refusal }) => refusal)
const accepted = upward.filter(({ meaning }) => meaning)

/** A client is who its header says, whatever HELLO shows: each vector is a principal of its own. */
function openServer(): Promise<TestServer<{ ticker: ReturnType<typeof ticker>; chat: (typeof demoActors)['echo'] }>> {
  return testServer(
    { ticker: ticker(), chat: demoActors.echo },
    { authenticate: ({ headers }) => ({ id: headers.get('x-who') ?? 'nobody' }) },
  )
}

function kindsIn(raw: RawSocket): string[] {
  return raw.frames.flatMap(({ opcode, payload }) =>
    opcode === OPCODE.binary ? decodeDown(payload, scanLimits.down).map(({ kind }) => kind) : [],
  )
}

async function inTurn<T>(all: readonly T[], visit: (one: T, n: number) => Promise<void>): Promise<void> {
  const entries = all.entries()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const [n, one] of entries) await visit(one, n)
    }),
  )
}

const hello = (): UpFrame => ({ kind: 'hello', client: crypto.getRandomValues(new Uint8Array(16)), attempt: 1 })

/** The close code due: what is larger than any message never reaches the protocol. */
function due(vector: Vector, limit: number): number | undefined {
  const { length } = messageOf(vector)
  return length > maxMessage ? 1009 : length > limit ? 4413 : vector.refusal?.close
}

test('every refused vector closes its connection with its code, behind HELLO and as the first message, and no other connection notices', async () => {
  await using server = await openServer()
  await using client = await server.client({ headers: { 'x-who': 'bystander' } })
  const watching = await bystander(client)
  const wrong: string[] = []

  await inTurn(refused, async (vector, n) => {
    await using raw = await RawSocket.open(server.url, { 'x-who': `v${n}` })
    raw.message(encodeUp([hello()]))
    raw.message(messageOf(vector))
    const ending = await raw.end()
    const welcomed = ending === 1009 || kindsIn(raw).includes('welcome')
    if (ending !== due(vector, maxMessage) || !welcomed) wrong.push(`${vector.name}: ${ending}`)
  })
  await inTurn(refused, async (vector, n) => {
    await using raw = await RawSocket.open(server.url, { 'x-who': `v${n}` })
    raw.message(messageOf(vector))
    const ending = await raw.end()
    if (ending !== due(vector, beforeWelcomeBytes) || kindsIn(raw).length > 0) wrong.push(`${vector.name}: ${ending}`)
  })

  expect(wrong).toEqual([])
  const { items, rttMaxMs } = await watching.finish()
  console.log(`vectors: ${refused.length} refused twice; bystander ${items} items, RTT max ${rttMaxMs} ms`)
  expect(server.errors).toEqual([])
})

test('a connection answers behind every accepted vector, and no other connection notices', async () => {
  await using server = await openServer()
  await using client = await server.client({ headers: { 'x-who': 'bystander' } })
  const watching = await bystander(client)
  const wrong: string[] = []

  await inTurn(accepted, async (vector, n) => {
    await using raw = await RawSocket.open(server.url, { 'x-who': `v${n}` })
    const greets = (vector.meaning as UpFrame[]).some(({ kind }) => kind === 'hello')
    if (!greets) raw.message(encodeUp([hello()]))
    raw.message(messageOf(vector))
    raw.message(encodeUp([{ kind: 'ping', nonce: 123 }]))
    const answered = (): boolean => kindsIn(raw).includes('pong') && kindsIn(raw).includes('welcome')
    await raw.until(answered, 'PONG').catch((error: unknown) => wrong.push(`${vector.name}: ${String(error)}`))
  })

  expect(wrong).toEqual([])
  const { items, rttMaxMs } = await watching.finish()
  console.log(`vectors: ${accepted.length} accepted; bystander ${items} items, RTT max ${rttMaxMs} ms`)
  expect(server.errors).toEqual([])
})

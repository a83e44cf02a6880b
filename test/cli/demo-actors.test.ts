import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Client, createClient } from '../../client-sdk/node.ts'
import { type DemoActors, demoActors } from '../../server/cli/demo-actors.ts'
import { bearer, createServer, demo, type MillraceServer } from '../../server/index.ts'
import { readAll } from '../helpers/read-all.ts'

let server: MillraceServer<DemoActors>
let client: Client<DemoActors>

beforeAll(async () => {
  server = createServer({
    actors: demoActors,
    authenticate: bearer({ token: 'me' }),
    defaultModel: demo({ tokensPerSec: Number.POSITIVE_INFINITY }),
    limits: { cancelGraceMs: 50 },
  })
  const { url } = await server.listen(0)
  client = createClient(url, { token: 'token' })
})
afterAll(async () => {
  await client.close()
  await server.close({ drainMs: 0 })
})

test('chat answers with the default model', async () => {
  expect(await client.ask('chat', 'the mill')).toContain('“the mill”')
})

test('count sends one token for each number', async () => {
  expect(await readAll(client.start('count', { to: 3, delayMs: 1 }).text())).toEqual(['1 ', '2 ', '3 '])
})

test('flood sends as many random tokens as asked, of 3 to 6 characters', async () => {
  const tokens = await readAll(client.start('flood', { tokens: 500 }).text())
  expect(tokens).toHaveLength(500)
  expect(new Set(tokens.map(({ length }) => length))).toEqual(new Set([3, 4, 5, 6]))
  expect(new Set(tokens).size).toBeGreaterThan(250)
})

test('flood sends tokens of a given size', async () => {
  const tokens = await readAll(client.start('flood', { tokens: 20, bytes: 1_000 }).text())
  expect(tokens.map((token) => Buffer.byteLength(token))).toEqual(Array.from({ length: 20 }, () => 1_000))
})

test('echo answers each message until it is cancelled', async () => {
  const run = client.start('echo', null)
  const reader = run.text()
  await run.send('message', 'one')
  await run.send('other', 'not this')
  await run.send('message', { two: 2 })
  expect([(await reader.next()).value, (await reader.next()).value]).toEqual(['one', '{"two":2}'])
  expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true })
})

test('sleep sends nothing, and stops at once', async () => {
  expect(await client.ask('sleep', { ms: 1 })).toEqual({ sleptMs: 1 })
  const run = client.start('sleep', { ms: 600_000 })
  await run.opened
  expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', settled: true, unsettled: [] })
})

test('stubborn ignores its cancel, and the receipt says so', async () => {
  const run = client.start('stubborn', { ms: 3_000 })
  await run.opened
  expect(await run.cancel()).toMatchObject({ outcome: 'cancelled', settled: false, unsettled: ['actor'] })
})

import { expect, test } from 'vitest'
import { testServer } from '../helpers/server.ts'
import { counted, counter, silent } from '../helpers/test-actors.ts'
import type { WireClient } from '../helpers/wire-client.ts'

/** Starts a run and cancels it before it has said anything. */
async function abandon(client: WireClient, sid: number, key?: string): Promise<string> {
  client.start(sid, 'silent', null, key === undefined ? {} : { key })
  client.send({ kind: 'cancel', sid })
  await client.next('end', sid)
  return (await client.next('opened', sid)).run
}

test('ended runs without items take up the kept bytes of their principal, and of no other', async () => {
  await using server = await testServer({ silent: silent() }, { limits: { retainPrincipal: 100_000 } })
  await using alice = await server.client()
  await using bob = await server.client({ auth: 'bob' })
  const bobs = await abandon(bob, 1)
  const first = await abandon(alice, 1, 'first')
  let last = ''
  for (let sid = 2; sid <= 20; sid++) last = await abandon(alice, sid)

  alice.attach(31, first, 0)
  expect((await alice.next('end', 31)).data).toMatchObject({ code: 'not_found' })
  alice.attach(32, last, 0)
  expect((await alice.next('end', 32)).outcome).toBe('cancelled')
  bob.attach(33, bobs, 0)
  expect((await bob.next('end', 33)).outcome).toBe('cancelled')
})

test('the key of an ended run that was given up early stays its time, then it is free', async () => {
  await using server = await testServer({ silent: silent() }, { limits: { retainPrincipal: 10_000, endedMs: 500 } })
  await using client = await server.client()
  await abandon(client, 1, 'first')
  await abandon(client, 2)
  client.start(3, 'silent', null, { key: 'first' })
  expect((await client.next('end', 3)).data).toMatchObject({ code: 'not_found' })
  for (let sid = 4; ; sid++) {
    client.start(sid, 'silent', null, { key: 'first' })
    const answer = await client.find((frame) => 'sid' in frame && frame.sid === sid)
    if (answer.kind === 'opened') {
      expect(answer.reused).toBeUndefined()
      return
    }
    expect(answer).toMatchObject({ kind: 'end', data: { code: expect.stringMatching(/^(not_found|rate_limited)$/) } })
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
})

test('the kept bytes of all principals together have a limit as well', async () => {
  await using server = await testServer({ silent: silent() }, { limits: { retainTotal: 20_000 } })
  await using alice = await server.client()
  await using bob = await server.client({ auth: 'bob' })
  const first = await abandon(alice, 1)
  const second = await abandon(bob, 1)
  const third = await abandon(alice, 2)
  alice.attach(3, first, 0)
  expect((await alice.next('end', 3)).data).toMatchObject({ code: 'not_found' })
  bob.attach(3, second, 0)
  expect((await bob.next('end', 3)).outcome).toBe('cancelled')
  alice.attach(4, third, 0)
  expect((await alice.next('end', 4)).outcome).toBe('cancelled')
})

test('inputs to a run take up kept bytes as well', async () => {
  await using server = await testServer({ silent: silent() }, { limits: { retainPrincipal: 100_000 } })
  await using client = await server.client()
  const quiet = await abandon(client, 1)
  client.start(2, 'silent')
  const { run } = await client.next('opened', 2)
  const inputs = Array.from(
    { length: 500 },
    (_, n) => ({ kind: 'input', sid: 2, mid: `m${n}`, type: '', data: 0 }) as const,
  )
  client.send(...inputs, { kind: 'cancel', sid: 2 })
  await client.next('end', 2)
  client.attach(3, quiet, 0)
  expect((await client.next('end', 3)).data).toMatchObject({ code: 'not_found' })
  client.attach(4, run, 0)
  expect((await client.next('end', 4)).data).toMatchObject({ code: 'not_found' })
})

test('a run that is being read is given up after those that nobody reads', async () => {
  const count = counter()
  // Each run takes 7 KB and its items: two fit, a third does not.
  await using server = await testServer({ count, silent: silent() }, { limits: { retainPrincipal: 20_000 } })
  await using client = await server.client()
  client.start(1, 'count', 20)
  const { run: read } = await client.next('opened', 1)
  await client.next('end', 1)
  client.attach(2, read, 0, { policy: 'log', credit: 5 })
  await client.until(() => client.count(2) === 5)
  const unread: string[] = []
  for (let sid = 3; sid <= 8; sid++) unread.push(await abandon(client, sid))
  client.attach(9, unread[0]!, 0)
  expect((await client.next('end', 9)).data).toMatchObject({ code: 'not_found' })
  client.send({ kind: 'credit', sid: 2, n: 100 })
  expect(await client.next('end', 2)).toMatchObject({ outcome: 'done' })
  expect(client.text(2)).toBe(counted(1, 20))
  // Now that nobody reads it, it goes in its turn.
  for (const sid of [10, 12]) await abandon(client, sid)
  client.attach(13, read, 0)
  expect((await client.next('end', 13)).data).toMatchObject({ code: 'not_found' })
})

test('a run that is being read is given up when all others are read as well, the oldest first', async () => {
  const count = counter()
  await using server = await testServer({ count }, { limits: { retainPrincipal: 20_000 } })
  await using client = await server.client()
  const begin = async (sid: number): Promise<void> => {
    client.start(sid, 'count', 20, { credit: 0, policy: 'log' })
    await client.find((frame) => frame.kind === 'notice' && frame.ref?.sid === sid)
  }
  for (const sid of [1, 2, 3]) await begin(sid)
  expect(await client.next('end', 1)).toMatchObject({ outcome: 'unsubscribed', data: { code: 'overloaded' } })
  client.send({ kind: 'credit', sid: 2, n: 100 }, { kind: 'credit', sid: 3, n: 100 })
  for (const sid of [2, 3]) expect(await client.next('end', sid)).toMatchObject({ outcome: 'done' })
})

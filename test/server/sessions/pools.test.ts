import { describe, expect, test } from 'vitest'
import { anonymous, bearer } from '../../../server/sessions/auth.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { silent } from '../../helpers/test-actors.ts'
import { onUws, onWs } from '../../helpers/transports.ts'
import type { WireClient } from '../../helpers/wire-client.ts'

const guests = bearer({ one: { id: 'one', pool: 'guests' }, two: { id: 'two', pool: 'guests' }, alice: 'alice' })

async function startAll(client: WireClient, count: number): Promise<void> {
  for (let sid = 1; sid <= count; sid++) {
    client.start(sid, 'silent')
    await client.next('opened', sid)
  }
}

describe('the principals of a pool share', () => {
  test('live runs: maxRuns of principalsPerPool principals, and each at most its own', async () => {
    const options = { authenticate: guests, limits: { maxRuns: 3, principalsPerPool: 1 } }
    await using server = await testServer({ silent: silent() }, options)
    await using one = await server.client({ auth: 'one' })
    await using two = await server.client({ auth: 'two' })
    await using alice = await server.client()
    await startAll(one, 2)
    await startAll(two, 1)
    two.start(2, 'silent')
    const end = await two.next('end', 2)
    expect(end).toMatchObject({ seq: 0, data: { code: 'overloaded', retryable: true } })
    expect(end.data['message']).toContain('principalsPerPool')
    await startAll(alice, 3)
    one.send({ kind: 'cancel', sid: 1 })
    await one.next('end', 1)
    await eventually(() => server.server.liveRuns === 5, 'it settles')
    two.start(3, 'silent')
    await two.next('opened', 3)
  })

  test('live runs, of which each principal still has at most maxRuns', async () => {
    const options = { authenticate: guests, limits: { maxRuns: 1, principalsPerPool: 10 } }
    await using server = await testServer({ silent: silent() }, options)
    await using one = await server.client({ auth: 'one' })
    await startAll(one, 1)
    one.start(2, 'silent')
    expect((await one.next('end', 2)).data['message']).toContain('you have 1 live runs')
  })

  test('connections', async () => {
    const options = { authenticate: guests, limits: { maxConnections: 2, principalsPerPool: 1 } }
    await using server = await testServer({ silent: silent() }, options)
    await using one = await server.client({ auth: 'one' })
    await using two = await server.client({ auth: 'two' })
    await using third = await server.client({ auth: 'two', hello: 'unanswered' })
    expect(await third.closed).toBe(4429)
    await using alice = await server.client()
    await alice.settle()
    await one[Symbol.asyncDispose]()
    await eventually(() => server.server.connections === 2, 'its place is free')
    await using again = await server.client({ auth: 'two' })
    await again.settle()
    await two.settle()
  })

  test('starts a second', async () => {
    const limits = { startsPerSec: 1, startBurst: 2, principalsPerPool: 1 }
    await using server = await testServer({ silent: silent() }, { authenticate: guests, limits })
    await using one = await server.client({ auth: 'one' })
    await using two = await server.client({ auth: 'two' })
    await startAll(one, 1)
    await startAll(two, 1)
    two.start(2, 'silent')
    expect(await two.next('end', 2)).toMatchObject({
      data: { code: 'rate_limited', details: { afterMs: expect.any(Number) } },
    })
  })

  test('the bytes of ended runs', async () => {
    const limits = { retainPrincipal: 10_000 }
    await using server = await testServer({ silent: silent() }, { authenticate: guests, limits })
    await using one = await server.client({ auth: 'one' })
    await using two = await server.client({ auth: 'two' })
    const ids: string[] = []
    for (const client of [one, two]) {
      client.start(1, 'silent')
      ids.push((await client.next('opened', 1)).run)
      client.send({ kind: 'cancel', sid: 1 })
      await client.next('end', 1)
    }
    one.attach(2, ids[0]!, 0)
    expect((await one.next('end', 2)).data).toMatchObject({ code: 'not_found' })
    two.attach(2, ids[1]!, 0)
    expect((await two.next('end', 2)).outcome).toBe('cancelled')
  })
})

describe.each([onWs, onUws])('anonymous clients on $name', (by) => {
  test('of one address are one pool, and no client of another address is affected', async () => {
    const limits = { maxRuns: 2, principalsPerPool: 1 }
    const options = { authenticate: anonymous(), trustProxy: true, limits }
    await using server = await testServer({ silent: silent() }, options, by)
    const from = (address: string): Promise<WireClient> => server.client({ headers: { 'X-Forwarded-For': address } })
    await using one = await from('192.0.2.1')
    await using two = await from('192.0.2.1')
    await using other = await from('192.0.2.2')
    await startAll(one, 1)
    await startAll(two, 1)
    two.start(2, 'silent')
    expect(await two.next('end', 2)).toMatchObject({ data: { code: 'overloaded' } })
    await startAll(other, 2)
  })
})

test.each([5, '', null])('a pool must be a name: %j is reported, and closes 1011', async (pool) => {
  const authenticate = () => ({ id: 'alice', pool }) as never
  await using server = await testServer({ silent: silent() }, { authenticate })
  await using client = await server.client({ hello: 'unanswered' })
  expect(await client.closed).toBe(1011)
  expect(String(server.errors[0])).toContain('pool')
})

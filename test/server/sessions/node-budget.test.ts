import { expect, test } from 'vitest'
import { actor } from '../../../server/actors/actor.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { silent } from '../../helpers/test-actors.ts'

const KB = 1_024
/** Says as many KB as it is asked for, and then waits for its stop. */
const holding = () =>
  actor({
    async *stream(kilobytes, { signal }) {
      for (let n = 0; n < Number(kilobytes); n++) yield 'x'.repeat(KB)
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    },
  })
const full = { outcome: 'error', seq: 0, data: { code: 'overloaded', retryable: true } }

test('a node has at most maxRunsTotal live runs, whoever owns them', async () => {
  await using server = await testServer({ silent: silent() }, { limits: { maxRunsTotal: 3 } })
  await using alice = await server.client()
  await using bob = await server.client({ auth: 'bob' })
  for (const [sid, client] of [alice, alice, bob].entries()) {
    client.start(sid + 1, 'silent')
    await client.next('opened')
  }
  bob.start(4, 'silent')
  const end = await bob.next('end', 4)
  expect(end).toMatchObject(full)
  expect(end.data['message']).toContain('maxRunsTotal')
  alice.send({ kind: 'cancel', sid: 1 })
  await alice.next('end', 1)
  await eventually(() => server.server.liveRuns === 2, 'it settles')
  bob.start(5, 'silent')
  await bob.next('opened', 5)
})

test('no run begins while the logs of live runs take maxLogsTotal, and the live ones go on', async () => {
  const runtime = handClock()
  await using server = await testServer({ holding: holding() }, { runtime, limits: { maxLogsTotal: 100 * KB } })
  await using client = await server.client()
  client.start(1, 'holding', 101)
  await client.until(() => client.count(1) === 101)
  runtime.advance(250)
  client.start(2, 'holding', 1)
  const end = await client.next('end', 2)
  expect(end).toMatchObject(full)
  expect(end.data['message']).toContain('maxLogsTotal')
  client.send({ kind: 'cancel', sid: 1 })
  expect((await client.next('end', 1)).outcome).toBe('cancelled')
  await eventually(() => server.server.liveRuns === 0, 'it settles')
  runtime.advance(250)
  client.start(3, 'holding', 1)
  await client.next('opened', 3)
})

test('ended runs make room for the logs of live ones, the oldest first', async () => {
  const runtime = handClock()
  await using server = await testServer({ holding: holding() }, { runtime, limits: { maxLogsTotal: 100 * KB } })
  await using client = await server.client()
  const ended: string[] = []
  for (const sid of [1, 2]) {
    client.start(sid, 'holding', 30)
    ended.push((await client.next('opened', sid)).run)
    await client.until(() => client.count(sid) === 30)
    client.send({ kind: 'cancel', sid })
    await client.next('end', sid)
  }
  client.start(3, 'holding', 40)
  await client.until(() => client.count(3) === 40)
  runtime.advance(250)
  client.start(4, 'holding', 1)
  await client.next('opened', 4)
  client.attach(5, ended[0]!, 0)
  expect((await client.next('end', 5)).data).toMatchObject({ code: 'not_found' })
  client.attach(6, ended[1]!, 0)
  expect((await client.next('end', 6)).outcome).toBe('cancelled')
})

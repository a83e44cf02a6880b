import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { actor } from '../../../server/actors/actor.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { testServer } from '../../helpers/server.ts'
import { counted, counter, silent } from '../../helpers/test-actors.ts'

describe('a key', () => {
  test('names one execution, on one connection and on two, running or ended', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    await using other = await served.client()
    const key = new Uint8Array([1, 2, 3])
    client.start(1, 'count', 50, { key, credit: 10 })
    const { run } = await client.next('opened', 1)
    client.start(2, 'count', 50, { key })
    expect(await client.next('opened', 2)).toMatchObject({ run, next: 1, reused: true, gen: 1 })
    other.start(1, 'count', 50, { key, policy: 'log' })
    expect(await other.next('opened', 1)).toMatchObject({ run, reused: true })
    client.send({ kind: 'credit', sid: 1, n: 100 })
    await other.next('end', 1)
    await client.next('end', 2)
    expect(other.text(1)).toBe(counted(1, 50))
    expect(client.text(2)).toBe(counted(1, 50))
    other.start(5, 'count', 50, { key })
    expect(await other.next('opened', 5)).toMatchObject({ run, reused: true })
    await other.next('end', 5)
    expect(other.text(5)).toBe(counted(1, 50))
    expect(count.runs).toHaveLength(1)
  })

  test('with another input is a conflict, and leaves the run alone', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using client = await served.client()
    client.start(1, 'count', 50, { key: 'k' })
    await client.next('end', 1)
    client.start(2, 'count', 51, { key: 'k' })
    expect(await client.next('end', 2)).toMatchObject({
      seq: 0,
      outcome: 'error',
      data: { code: 'key_conflict', retryable: false },
    })
    // A key is a text or bytes, never both.
    client.start(3, 'count', 52, { key: new TextEncoder().encode('k') })
    expect(await client.next('end', 3)).toMatchObject({ seq: 53 })
  })

  test('belongs to its principal and its actor', async () => {
    const count = counter()
    const other = counter()
    await using served = await testServer({ count, other })
    await using alice = await served.client()
    await using bob = await served.client({ auth: 'bob' })
    alice.start(1, 'count', 5, { key: 'k' })
    const { run } = await alice.next('opened', 1)
    bob.start(1, 'count', 6, { key: 'k' })
    const theirs = await bob.next('opened', 1)
    expect(theirs.run).not.toBe(run)
    expect(theirs).not.toHaveProperty('reused')
    alice.start(2, 'other', 7, { key: 'k' })
    expect((await alice.next('opened', 2)).run).not.toBe(run)
  })

  test('is not kept by a refusal', async () => {
    const fits = actor({ input: z.object({ n: z.number() }), ask: ({ n }) => `${n}` })
    await using served = await testServer({ fits })
    await using client = await served.client()
    client.start(1, 'fits', { n: 'no' }, { key: 'k' })
    const end = await client.next('end', 1)
    expect(end).toMatchObject({ seq: 0, outcome: 'error', data: { code: 'invalid_input', details: [{ path: ['n'] }] } })
    expect(client.frames.some(({ kind }) => kind === 'opened')).toBe(false)
    client.start(2, 'nobody', null, { key: 'k' })
    expect(await client.next('end', 2)).toMatchObject({ seq: 0, data: { code: 'not_found' } })
    client.start(3, 'fits', { n: 5 }, { key: 'k' })
    await client.next('end', 3)
    expect(client.text(3)).toBe('5')
  })

  test('of a run that goes on is answered while the server closes; a new one is not', async () => {
    await using served = await testServer({ silent: silent() })
    await using client = await served.client()
    client.start(1, 'silent', null, { key: 'k' })
    const { run } = await client.next('opened', 1)
    const closing = served.server.close({ drainMs: 5_000 })
    expect(await client.next('goaway')).toMatchObject({ reason: 'shutdown' })
    client.start(2, 'silent', null, { key: 'k' })
    expect(await client.next('opened', 2)).toMatchObject({ run, reused: true })
    client.start(3, 'silent', null, { key: 'other' })
    expect(await client.next('end', 3)).toMatchObject({ seq: 0, data: { code: 'draining', retryable: true } })
    client.send({ kind: 'cancel', sid: 1 })
    await closing
  })

  test('is free again when its time is over, and nothing is kept', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: { endedMs: 60_000, heartbeatMs: 1_000_000 } })
    await using client = await served.client()
    client.start(1, 'count', 5, { key: 'k' })
    const { run } = await client.next('opened', 1)
    await client.next('end', 1)
    runtime.advance(59_000)
    client.start(2, 'count', 5, { key: 'k' })
    expect(await client.next('opened', 2)).toMatchObject({ run, reused: true })
    await client.next('end', 2)
    runtime.advance(2_000)
    client.start(3, 'count', 6, { key: 'k' })
    expect((await client.next('opened', 3)).run).not.toBe(run)
    client.attach(4, run, 0)
    expect(await client.next('end', 4)).toMatchObject({ seq: 0, data: { code: 'not_found' } })
  })
})

describe('the ended runs that are kept', () => {
  test('go oldest first when there are too many, and the key still says so', async () => {
    const large = actor({
      async *stream(_: unknown) {
        for (let n = 0; n < 40; n++) yield 'x'.repeat(1_000)
      },
    })
    await using served = await testServer({ large }, { limits: { retainPrincipal: 100_000 } })
    await using client = await served.client()
    const runs: string[] = []
    for (let sid = 1; sid <= 4; sid++) {
      client.start(sid, 'large', sid, { key: `k${sid}` })
      runs.push((await client.next('opened', sid)).run)
      await client.next('end', sid)
    }
    client.attach(11, runs[0] ?? '', 0)
    expect(await client.next('end', 11)).toMatchObject({ seq: 0, data: { code: 'not_found' } })
    client.start(12, 'large', 1, { key: 'k1' })
    expect(await client.next('end', 12)).toMatchObject({ seq: 0, data: { code: 'not_found', retryable: false } })
    client.start(13, 'large', 99, { key: 'k1' })
    expect(await client.next('end', 13)).toMatchObject({ seq: 0, data: { code: 'key_conflict' } })
    client.attach(14, runs[3] ?? '', 0)
    await client.next('end', 14)
    expect(client.count(14)).toBe(40)
  })

  test('of one principal do not cost another theirs', async () => {
    const large = actor({
      async *stream() {
        for (let n = 0; n < 40; n++) yield 'x'.repeat(1_000)
      },
    })
    await using served = await testServer({ large }, { limits: { retainPrincipal: 100_000 } })
    await using alice = await served.client()
    await using bob = await served.client({ auth: 'bob' })
    alice.start(1, 'large')
    const { run } = await alice.next('opened', 1)
    await alice.next('end', 1)
    for (let sid = 1; sid <= 5; sid++) {
      bob.start(sid, 'large')
      await bob.next('end', sid)
    }
    alice.attach(2, run, 0)
    await alice.next('end', 2)
    expect(alice.count(2)).toBe(40)
  })

  test('and given up while a client reads all of them end as lost, and in no other way', async () => {
    const large = actor({
      async *stream() {
        for (let n = 0; n < 40; n++) yield 'x'.repeat(1_000)
      },
    })
    await using served = await testServer({ large }, { limits: { retainPrincipal: 100_000 } })
    await using client = await served.client()
    client.start(1, 'large', null, { credit: 40, policy: 'log' })
    const { run } = await client.next('opened', 1)
    await client.next('end', 1)
    client.attach(2, run, 0, { credit: 5 })
    await client.until(() => client.count(2) === 5)
    for (let sid = 3; sid <= 6; sid++) {
      client.start(sid, 'large', null, { credit: 0, policy: 'log' })
      await client.find((frame) => frame.kind === 'notice' && frame.ref?.sid === sid)
    }
    expect(await client.next('end', 2)).toMatchObject({ seq: 6, outcome: 'unsubscribed', data: { code: 'overloaded' } })
    expect(client.count(2)).toBe(5)
  })

  test('are no loss for a client that only waits for an end', async () => {
    await using served = await testServer({ silent: silent() }, { limits: { retainPrincipal: 50_000 } })
    await using client = await served.client()
    const sids = Array.from({ length: 20 }, (_, n) => n + 1)
    for (const sid of sids) client.start(sid, 'silent')
    for (const sid of sids) await client.next('opened', sid)
    // All of them end before the first of their ends can be sent.
    client.send(...sids.map((sid) => ({ kind: 'cancel' as const, sid })))
    for (const sid of sids) expect(await client.next('end', sid)).toMatchObject({ seq: 1, outcome: 'cancelled' })
  })

  test('for no time at all cause no endless loop while a client reads them', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: { endedMs: 0 } })
    await using client = await served.client()
    client.start(1, 'count', 5, { credit: 1 })
    await client.next('notice')
    runtime.advance(1)
    runtime.advance(1_000)
    client.send({ kind: 'credit', sid: 1, n: 10 })
    expect(await client.next('end')).toMatchObject({ seq: 6, outcome: 'done' })
  })
})

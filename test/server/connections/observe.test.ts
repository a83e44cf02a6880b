import { describe, expect, test } from 'vitest'
import { handClock } from '../../helpers/hand-clock.ts'
import { testServer } from '../../helpers/server.ts'
import { counted, counter, silent } from '../../helpers/test-actors.ts'

describe('a run of another principal', () => {
  test('is answered exactly as an unknown one', async () => {
    await using served = await testServer({ silent: silent() })
    await using alice = await served.client()
    await using bob = await served.client({ auth: 'bob' })
    alice.start(1, 'silent')
    const { run } = await alice.next('opened')
    const missing = run.slice(0, -4) + (run.endsWith('AAAA') ? 'BBBB' : 'AAAA')
    bob.attach(1, run, 0)
    bob.attach(2, missing, 0)
    bob.attach(3, '', 0)
    const answers = []
    for (const sid of [1, 2, 3]) {
      const end = await bob.next('end', sid)
      expect(end.seq).toBe(0)
      answers.push(end.data)
    }
    expect(answers[0]).toMatchObject({ code: 'not_found', retryable: false })
    expect(answers[1]).toEqual(answers[0])
    expect(answers[2]).toEqual(answers[0])
  })

  test('may be observed with the right to observe, by any policy but pace', async () => {
    const count = counter()
    await using served = await testServer({ count })
    await using alice = await served.client()
    await using eve = await served.client({ auth: 'eve' })
    alice.start(1, 'count', 100, { credit: 10 })
    const { run } = await alice.next('opened')
    for (const [sid, policy] of [
      [1, 'log'],
      [2, 'merge'],
      [3, 'latest'],
      [4, undefined],
    ] as const) {
      eve.attach(sid, run, 0, policy ? { policy } : {})
      await eve.next('opened', sid)
    }
    eve.attach(5, run, 0, { policy: 'pace' })
    expect(await eve.next('end', 5)).toMatchObject({ seq: 0, outcome: 'error', data: { code: 'forbidden' } })
    eve.attach(6, 'r_none', 0, { policy: 'pace' })
    expect(await eve.next('end', 6)).toMatchObject({ seq: 0, data: { code: 'not_found' } })
    alice.send({ kind: 'credit', sid: 1, n: 100 })
    for (const sid of [1, 2, 3, 4]) await eve.next('end', sid)
    for (const sid of [1, 2, 4]) expect(eve.text(sid)).toBe(counted(1, 100))
  })

  test('cannot be cancelled or sent input by an observer, who gets a NOTICE', async () => {
    await using served = await testServer({ silent: silent() })
    await using alice = await served.client()
    await using eve = await served.client({ auth: 'eve' })
    alice.start(1, 'silent')
    const { run } = await alice.next('opened')
    eve.attach(1, run, 0)
    await eve.next('opened')
    eve.send({ kind: 'cancel', sid: 1 })
    expect(await eve.next('notice')).toMatchObject({ code: 'forbidden', ref: { tag: 5, sid: 1 } })
    eve.send({ kind: 'input', sid: 1, mid: 'm', type: 'message', data: null })
    expect(await eve.next('notice')).toMatchObject({ code: 'forbidden', ref: { tag: 6, sid: 1, detail: 'm' } })
    expect(served.server.liveRuns).toBe(1)
    expect(eve.frames.some(({ kind }) => kind === 'input_ack')).toBe(false)
  })

  test('is not kept running by an observer', async () => {
    const runtime = handClock()
    const count = counter()
    await using served = await testServer({ count }, { runtime, limits: { heartbeatMs: 1_000_000 } })
    await using eve = await served.client({ auth: 'eve' })
    await using alice = await served.client()
    alice.start(1, 'count', 1_000, { credit: 5, detachMs: 1_000 })
    const { run } = await alice.next('opened')
    await alice.until(() => alice.count(1) === 5)
    eve.attach(1, run, 0, { credit: 500 })
    await eve.until(() => eve.count(1) === 37)
    alice.send({ kind: 'detach', sid: 1 })
    await alice.settle()
    await eve.settle()
    expect(eve.count(1)).toBe(37)
    runtime.advance(1_000)
    expect(await eve.next('end')).toMatchObject({ outcome: 'cancelled', data: { code: 5, by: 'server', kept: 37 } })
  })
})

import { describe, expect, test } from 'vitest'
import { actor } from '../../../server/actors/actor.ts'
import { eventually, testServer } from '../../helpers/server.ts'
import { latch, silent } from '../../helpers/test-actors.ts'

/** Ignores its signal until it is released, in itself or in a child. */
function stubborn() {
  const stuck = latch()
  const made = actor({
    async *stream(): AsyncGenerator<string> {
      yield 'x'
      await stuck.opened
    },
  })
  return { made, stop: stuck.open }
}

describe('the slot of a run that does not stop', () => {
  test('can be freed by the operator, who is told what may go on; the end stays the only one', async () => {
    const { made, stop } = stubborn()
    const parent = actor({
      async *stream(_: unknown, { spawn }) {
        yield* spawn(made, null)
      },
    })
    await using served = await testServer({ parent, silent: silent() }, { limits: { cancelGraceMs: 20, maxRuns: 2 } })
    await using client = await served.client()
    client.start(1, 'parent')
    const { run } = await client.next('opened')
    await client.until(() => client.text(1) === 'x')
    expect(() => served.server.release(run)).toThrow(expect.objectContaining({ code: 'bad_request' }))
    client.send({ kind: 'cancel', sid: 1 })
    const end = await client.next('end', 1)
    expect(end).toMatchObject({ outcome: 'cancelled', data: { settled: false } })
    client.start(2, 'silent')
    expect(await client.next('end', 2)).toMatchObject({ data: { code: 'overloaded' } })
    const goingOn = served.server.release(run)
    expect(goingOn).toEqual((end.data as { unsettled: string[] }).unsettled)
    expect(served.server.liveRuns).toBe(0)
    client.start(3, 'silent')
    client.start(4, 'silent')
    await client.next('opened', 3)
    await client.next('opened', 4)
    stop()
    await client.settle()
    // Its own end frees no slot of another run.
    expect(served.server.liveRuns).toBe(2)
    client.start(5, 'silent')
    expect(await client.next('end', 5)).toMatchObject({ data: { code: 'overloaded' } })
    client.attach(6, run, 0)
    const again = await client.next('end', 6)
    expect(again).toMatchObject({ seq: end.seq, outcome: 'cancelled', data: end.data })
  })

  test('is freed once, and only where there is one', async () => {
    const { made, stop } = stubborn()
    await using served = await testServer({ made }, { limits: { cancelGraceMs: 0 } })
    await using client = await served.client()
    client.start(1, 'made')
    const { run } = await client.next('opened')
    await client.until(() => client.count(1) === 1)
    client.send({ kind: 'cancel', sid: 1 })
    await client.next('end')
    expect(served.server.release(run)).toEqual(['actor'])
    for (const id of [run, 'r_none'])
      expect(() => served.server.release(id)).toThrow(expect.objectContaining({ code: 'not_found' }))
    stop()
    await eventually(() => served.server.liveRuns === 0, 'no slot is taken')
  })
})

import { expect, test } from 'vitest'
import { actor, agent, type Model, type ModelEvent } from '../../../server/index.ts'
import { Orders } from '../../../server/runs/orders.ts'
import { handClock } from '../../helpers/hand-clock.ts'
import { testServer } from '../../helpers/server.ts'
import { aborted, latch } from '../../helpers/test-actors.ts'

function ordersByHand() {
  const clock = handClock()
  const make = (above?: Orders): Orders =>
    new Orders(
      {
        runtime: clock,
        startedAt: clock.now(),
        isOver: () => false,
        spent: () => undefined,
        exceeded: () => {},
        cancel: () => {},
        emit: () => Promise.resolve(1),
        below: () => undefined,
        pauseMoved: () => {},
      },
      above,
    )
  return { clock, make }
}

function slowDown(orders: Orders, perSec: number): void {
  expect(orders.take({ id: 'm', type: 'govern', data: { perSec } })).toEqual({ status: 'accepted' })
}

test.each([
  ['the run above', 5, 100],
  ['the run itself', 100, 5],
])('of two rates that hold for a run, the lower one decides: that of %s', async (_, above, own) => {
  const { clock, make } = ordersByHand()
  const parent = make()
  const orders = make(parent)
  slowDown(parent, above)
  slowDown(orders, own)
  const { signal } = new AbortController()
  await orders.pace(signal)
  const began = clock.now()
  const passed: number[] = []
  for (let n = 0; n < 3; n++) void orders.pace(signal)?.then(() => passed.push(clock.now() - began))
  for (let ms = 0; ms < 700; ms += 10) {
    clock.advance(10)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(passed).toEqual([200, 400, 600])
})

test('a budget counts what a child that was cut off has cost by estimate, also if its parent ends at once', async () => {
  const held = latch()
  const silent: Model = {
    id: 'demo:silent',
    provider: 'demo',
    // biome-ignore lint/correctness/useYield: it never says anything
    async *stream({ signal }): AsyncGenerator<ModelEvent> {
      held.open()
      await aborted(signal)
    },
  }
  const child = agent({ model: silent })
  const parent = actor({
    async *stream(_, { spawn }) {
      const started = spawn(child, 'x'.repeat(4_000))
      started.result.catch(() => {})
      await held.opened
      await started.cancel()
      yield 'done'
    },
  })
  await using served = await testServer({ parent })
  await using client = await served.client()
  client.send(
    { kind: 'start', sid: 1, actor: 'parent', input: null, options: {} },
    { kind: 'input', sid: 1, mid: 'b', type: 'govern', data: { budget: { tokens: 100 } } },
  )
  expect(await client.next('end', 1)).toMatchObject({ outcome: 'error', data: { code: 'budget_exceeded' } })
})

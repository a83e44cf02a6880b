import { expect, test } from 'vitest'
import { Orders } from '../../../server/runs/orders.ts'
import { handClock } from '../../helpers/hand-clock.ts'

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

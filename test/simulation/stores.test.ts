import { describe, expect, test } from 'vitest'
import { STORE_BREAKS } from './breaks.ts'
import { search } from './seeds.ts'
import { StoreWorld } from './store-world.ts'

const SEEDS = 2_000
/** A broken rule that no seed up to here finds is one that the simulation does not watch. */
const ENOUGH = 1_000

describe('real servers with one store, one after the other, in virtual time', () => {
  test(`${SEEDS} seeds of a store that is slow, fails and is full, and of processes that die, break no rule`, {
    timeout: 600_000,
  }, async () => {
    const met = { kills: 0, closes: 0, rewinds: 0, restored: 0, trees: 0, paid: 0, interrupted: 0, faults: 0 }
    const found = await search(1, SEEDS, undefined, (seed, tamper) => {
      const world = new StoreWorld(seed, tamper)
      for (const name of Object.keys(met) as (keyof typeof met)[]) met[name] += last?.stats[name] ?? 0
      last = world
      return world
    })
    expect(found).toBeUndefined()
    for (const [name, times] of Object.entries(met)) expect([name, times > 0]).toEqual([name, true])
  })
  let last: StoreWorld | undefined

  test('a seed replays exactly', async () => {
    const make = (seed: number): StoreWorld => new StoreWorld(seed)
    const broken = STORE_BREAKS['an end waits for the store']
    const first = await search(1, ENOUGH, broken, make)
    expect(await search(first?.seed ?? 0, 1, broken, make)).toEqual(first)
  })
})

describe('the simulation notices when it no longer holds that', () => {
  for (const [rule, broken] of Object.entries(STORE_BREAKS)) {
    test(rule, { timeout: 60_000 }, async () => {
      const found = await search(1, ENOUGH, broken, (seed, tamper) => new StoreWorld(seed, tamper))
      expect(found).toMatchObject({ message: expect.any(String) as string })
    })
  }
})

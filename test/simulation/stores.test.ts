import { describe, expect, test } from 'vitest'
import { firstSeed, repetitions } from '../helpers/tier.ts'
import { STORE_BREAKS } from './breaks.ts'
import type { Tamper } from './network.ts'
import { search, searchFor } from './seeds.ts'
import { StoreWorld } from './store-world.ts'

const SEEDS = repetitions({ quick: 400, full: 4_000, long: 60_000 })
/** Far more than it takes. */
const SEARCH_MS = repetitions({ quick: 120_000, full: 900_000, long: 14_400_000 })

const stores = (seed: number, tamper?: Tamper): StoreWorld => new StoreWorld(seed, tamper)

describe('real servers with one store, one after the other, in virtual time', () => {
  test(`${SEEDS} seeds of a store that is slow, fails and is full, and of processes that die, break no rule`, {
    timeout: SEARCH_MS,
  }, async () => {
    const met = { kills: 0, closes: 0, rewinds: 0, restored: 0, trees: 0, paid: 0, interrupted: 0, faults: 0 }
    const first = firstSeed()
    const began = performance.now()
    const found = await search(first, SEEDS, undefined, (seed, tamper) => {
      const world = stores(seed, tamper)
      for (const name of Object.keys(met) as (keyof typeof met)[]) met[name] += last?.stats[name] ?? 0
      last = world
      return world
    })
    console.log(`stores: ${SEEDS} seeds from ${first} in ${Math.round((performance.now() - began) / 1_000)} s`)
    expect(found).toBeUndefined()
    for (const [name, times] of Object.entries(met)) expect([name, times > 0]).toEqual([name, true])
  })
  let last: StoreWorld | undefined

  test('a seed replays exactly', async () => {
    const broken = STORE_BREAKS['an end waits for the store']!
    const first = await searchFor(broken, stores)
    expect(await search(first?.seed ?? 0, 1, broken, stores)).toEqual(first)
  })
})

describe('the simulation notices when it no longer holds that', () => {
  for (const [rule, broken] of Object.entries(STORE_BREAKS)) {
    test(rule, { timeout: 60_000 }, async () => {
      expect(await searchFor(broken, stores)).toMatchObject({ message: expect.any(String) as string })
    })
  }
})

import { describe, expect, test } from 'vitest'
import { firstSeed, repetitions } from '../helpers/tier.ts'
import { BREAKS } from './breaks.ts'
import { search, searchFor } from './seeds.ts'

const SEEDS = repetitions({ quick: 300, full: 5_000, long: 150_000 })
/** Far more than it takes. */
const SEARCH_MS = repetitions({ quick: 120_000, full: 900_000, long: 14_400_000 })

describe('the real server and the real client in virtual time', () => {
  test(`${SEEDS} seeds of cuts, late copies, take-overs, cancels, pauses, inputs, lists and observers break no rule`, {
    timeout: SEARCH_MS,
  }, async () => {
    const first = firstSeed()
    const began = performance.now()
    const found = await search(first, SEEDS)
    console.log(`simulation: ${SEEDS} seeds from ${first} in ${Math.round((performance.now() - began) / 1_000)} s`)
    expect(found).toBeUndefined()
  })

  test('a seed replays exactly', async () => {
    const broken = BREAKS['a gap is reported']!
    const first = await searchFor(broken)
    const again = await search(first?.seed ?? 0, 1, broken)
    expect(again).toEqual(first)
  })
})

describe('the simulation notices when it no longer holds that', () => {
  for (const [rule, broken] of Object.entries(BREAKS)) {
    test(rule, async () => {
      expect(await searchFor(broken)).toMatchObject({ message: expect.any(String) as string })
    })
  }
})

import { describe, expect, test } from 'vitest'
import { firstSeed, repetitions } from '../helpers/tier.ts'
import { ClusterWorld } from './cluster-world.ts'
import { search } from './seeds.ts'

const SEEDS = repetitions({ quick: 1_000, full: 500, long: 20_000 })

describe('real servers that share a Redis, in virtual time', () => {
  test(`${SEEDS} seeds of processes that die and freeze, networks that part, and a Redis that fails, break no rule`, {
    timeout: 14_400_000,
  }, async () => {
    const met: Record<string, number> = {}
    let last: ClusterWorld | undefined
    const count = (): void => {
      for (const [name, times] of Object.entries(last?.stats ?? {})) met[name] = (met[name] ?? 0) + times
    }
    const found = await search(firstSeed(), SEEDS, undefined, (seed, tamper) => {
      count()
      last = new ClusterWorld(seed, tamper)
      return last
    })
    count()
    expect(found).toBeUndefined()
    // A few seeds need not meet everything.
    if (SEEDS < 500) return
    for (const [name, times] of Object.entries(met)) expect([name, times > 0]).toEqual([name, true])
  })
})

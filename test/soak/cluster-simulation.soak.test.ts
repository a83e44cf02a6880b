/** All of these experiments, with their full counts. */
import '../simulation/cluster.test.ts'
import '../simulation/model-redis.test.ts'
import { describe, expect, test } from 'vitest'
import { CLUSTER_BREAKS } from '../simulation/cluster-breaks.ts'
import { ClusterWorld } from '../simulation/cluster-world.ts'
import { search, searchFor } from '../simulation/seeds.ts'

describe('the simulation of several servers notices when it no longer holds that', () => {
  for (const [rule, broken] of Object.entries(CLUSTER_BREAKS)) {
    test(rule, { timeout: 300_000 }, async () => {
      const found = await searchFor(broken, (seed, tamper) => new ClusterWorld(seed, tamper))
      expect(found).toMatchObject({ message: expect.any(String) as string })
    })
  }

  test('a seed replays exactly', async () => {
    const make = (seed: number): ClusterWorld => new ClusterWorld(seed)
    const broken = CLUSTER_BREAKS['who has lost a run stops']!
    const first = await searchFor(broken, make)
    expect(await search(first?.seed ?? 0, 1, broken, make)).toEqual(first)
  })
})

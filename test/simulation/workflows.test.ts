import { describe, expect, test } from 'vitest'
import { firstSeed, repetitions } from '../helpers/tier.ts'
import { WORKFLOW_BREAKS } from './breaks.ts'
import { type MakeWorld, search, searchFor } from './seeds.ts'
import { WorkflowWorld } from './workflow-world.ts'

const SEEDS = repetitions({ quick: 150, full: 1_000, long: 20_000 })
/** Far more than it takes. */
const SEARCH_MS = repetitions({ quick: 120_000, full: 900_000, long: 14_400_000 })
const workflows: MakeWorld = (seed, tamper) => new WorkflowWorld(seed, tamper)

describe('workflows in virtual time', () => {
  test(`${SEEDS} seeds of graphs and teams, failures, branches that are stopped, let go and paused, cuts, restarts and retries break no rule`, {
    timeout: SEARCH_MS,
  }, async () => {
    const first = firstSeed()
    const began = performance.now()
    const total: Record<string, number> = {}
    const found = await search(first, SEEDS, undefined, (seed) => {
      const world = new WorkflowWorld(seed)
      return {
        trace: world.trace,
        async run() {
          await world.run()
          for (const [name, n] of Object.entries(world.counts)) total[name] = (total[name] ?? 0) + n
        },
      }
    })
    const seconds = Math.round((performance.now() - began) / 1_000)
    console.log(`workflows: ${SEEDS} seeds from ${first} in ${seconds} s: ${JSON.stringify(total)}`)
    expect(found).toBeUndefined()
    for (const [what, times] of Object.entries(total)) expect([what, times > 0]).toEqual([what, true])
  })
})

describe('the simulation of workflows notices when it no longer holds that', () => {
  for (const [rule, broken] of Object.entries(WORKFLOW_BREAKS)) {
    test(rule, async () => {
      expect(await searchFor(broken, workflows)).toMatchObject({
        message: expect.any(String) as string,
      })
    })
  }
})

import { describe, expect, test } from 'vitest'
import { firstSeed, repetitions } from '../helpers/tier.ts'
import { AgentWorld } from './agent-world.ts'
import { AGENT_BREAKS } from './breaks.ts'
import { type MakeWorld, search, searchFor } from './seeds.ts'

const SEEDS = repetitions({ quick: 150, full: 2_000, long: 60_000 })
/** Far more than it takes. */
const SEARCH_MS = repetitions({ quick: 120_000, full: 900_000, long: 14_400_000 })

const agents: MakeWorld = (seed, tamper) => new AgentWorld(seed, tamper)

describe('agents with tools and children in virtual time', () => {
  test(`${SEEDS} seeds of scripts, tools, children, cancels, approvals, messages, orders and cuts break no rule`, {
    timeout: SEARCH_MS,
  }, async () => {
    const first = firstSeed()
    const began = performance.now()
    const total: Record<string, number> = {}
    const found = await search(first, SEEDS, undefined, (seed) => {
      const world = new AgentWorld(seed)
      return {
        trace: world.trace,
        async run() {
          await world.run()
          for (const [name, n] of Object.entries(world.counts)) total[name] = (total[name] ?? 0) + n
        },
      }
    })
    const seconds = Math.round((performance.now() - began) / 1_000)
    console.log(`agents: ${SEEDS} seeds from ${first} in ${seconds} s: ${JSON.stringify(total)}`)
    expect(found).toBeUndefined()
  })

  test('a seed replays exactly', async () => {
    const broken = AGENT_BREAKS['a result is of its call']!
    const first = await searchFor(broken, agents)
    expect(first).toBeDefined()
    expect(await search(first?.seed ?? 0, 1, broken, agents)).toEqual(first)
  })
})

describe('the simulation of agents notices when it no longer holds that', () => {
  for (const [rule, broken] of Object.entries(AGENT_BREAKS)) {
    test(rule, async () => {
      expect(await searchFor(broken, agents)).toMatchObject({ message: expect.any(String) as string })
    })
  }
})

import { describe, expect, test } from 'vitest'
import { AgentWorld } from './agent-world.ts'
import { AGENT_BREAKS } from './breaks.ts'
import { type MakeWorld, search } from './seeds.ts'

const SEEDS = 2_000
/** A broken rule that no seed up to here finds is one that the simulation does not watch. */
const ENOUGH = 200

const agents: MakeWorld = (seed, tamper) => new AgentWorld(seed, tamper)

describe('agents with tools and children in virtual time', () => {
  test(`${SEEDS} seeds of scripts, actions of tools, children, cancels, approvals and cuts break no rule`, {
    timeout: 120_000,
  }, async () => {
    expect(await search(1, SEEDS, undefined, agents)).toBeUndefined()
  })

  test('a seed replays exactly', async () => {
    const broken = AGENT_BREAKS['a result is of its call']
    const first = await search(1, ENOUGH, broken, agents)
    expect(first).toBeDefined()
    expect(await search(first?.seed ?? 0, 1, broken, agents)).toEqual(first)
  })
})

describe('the simulation of agents notices when it no longer holds that', () => {
  for (const [rule, broken] of Object.entries(AGENT_BREAKS)) {
    test(rule, async () => {
      expect(await search(1, ENOUGH, broken, agents)).toMatchObject({ message: expect.any(String) as string })
    })
  }
})

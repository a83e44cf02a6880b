import { expect, test } from 'vitest'
import { AgentWorld } from '../simulation/agent-world.ts'
import { search } from '../simulation/seeds.ts'

const SEEDS = 20_000
/** MILLRACE_SEED searches other seeds. */
const first = Number(process.env['MILLRACE_SEED'] ?? 225_315_749)

test(`${SEEDS} seeds of agents with tools and children from ${first} break no rule`, { timeout: 900_000 }, async () => {
  const began = performance.now()
  const total: Record<string, number> = {}
  const found = await search(first, SEEDS, undefined, (seed, tamper) => {
    const world = new AgentWorld(seed, tamper)
    return {
      trace: world.trace,
      async run() {
        await world.run()
        for (const [name, n] of Object.entries(world.counts)) total[name] = (total[name] ?? 0) + n
      },
    }
  })
  const seconds = Math.round((performance.now() - began) / 1000)
  console.log(`agents: ${SEEDS} seeds from ${first} in ${seconds} s: ${JSON.stringify(total)}`)
  expect(found).toBeUndefined()
})

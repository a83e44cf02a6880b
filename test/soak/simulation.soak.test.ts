import { expect, test } from 'vitest'
import { search } from '../simulation/seeds.ts'

const SEEDS = 50_000
/** MILLRACE_SEED searches other seeds. */
const first = Number(process.env['MILLRACE_SEED'] ?? 225_315_746)

test(`${SEEDS} seeds from ${first} break no rule`, { timeout: 900_000 }, async () => {
  const began = performance.now()
  const found = await search(first, SEEDS)
  console.log(`simulation: ${SEEDS} seeds from ${first} in ${Math.round((performance.now() - began) / 1000)} s`)
  expect(found).toBeUndefined()
})

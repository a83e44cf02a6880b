import { expect, test } from 'vitest'
import { search } from '../simulation/seeds.ts'
import { StoreWorld } from '../simulation/store-world.ts'

const SEEDS = 20_000
/** MILLRACE_SEED searches other seeds. */
const first = Number(process.env['MILLRACE_SEED'] ?? 225_315_752)

test(`${SEEDS} seeds of failing stores and dying processes from ${first} break no rule`, {
  timeout: 900_000,
}, async () => {
  const began = performance.now()
  const found = await search(first, SEEDS, undefined, (seed, tamper) => new StoreWorld(seed, tamper))
  console.log(`stores: ${SEEDS} seeds from ${first} in ${Math.round((performance.now() - began) / 1000)} s`)
  expect(found).toBeUndefined()
})

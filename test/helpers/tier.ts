/** Set by `vitest.soak.config.ts`: `soak` or `long`. */
const tier = process.env.MILLRACE_TIER

/**
 * How often a repeated experiment runs: `quick` times in `npm test`, `full` times in `npm run soak`, and `long` times in
 * `npm run soak:long`. Default of `long`: `full`.
 */
export function repetitions({ quick, full, long = full }: { quick: number; full: number; long?: number }): number {
  return tier === 'long' ? long : tier === 'soak' ? full : quick
}

/** The seeds of every run of a tier, so that a change is judged by itself. The soak searches where `npm test` does not. */
const FIRST_SEED = 225_315_746
const FIRST_OF_SOAK = FIRST_SEED + 1_000_000

/**
 * The seed with which a search begins: MILLRACE_SEED, in `npm run soak:long` another one in each run, and else always the
 * same. The test prints the seed that fails.
 */
export function firstSeed(): number {
  const { MILLRACE_SEED } = process.env
  if (MILLRACE_SEED !== undefined) return Number(MILLRACE_SEED)
  if (tier === 'long') return Date.now() % 2 ** 30
  return tier === 'soak' ? FIRST_OF_SOAK : FIRST_SEED
}

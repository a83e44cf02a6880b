/** Set by `vitest.soak.config.ts`: `soak` or `long`. */
const tier = process.env.MILLRACE_TIER

/**
 * How often a repeated experiment runs: `quick` times in `npm test`, `full` times in `npm run soak`, and `long` times in
 * `npm run soak:long`. Default of `long`: `full`.
 */
export function repetitions({ quick, full, long = full }: { quick: number; full: number; long?: number }): number {
  return tier === 'long' ? long : tier === 'soak' ? full : quick
}

/**
 * The seed with which a search begins: MILLRACE_SEED, and else another one in each run, so that many short runs find what
 * a long one does. The test prints the seed that fails.
 */
export function firstSeed(): number {
  return Number(process.env.MILLRACE_SEED ?? Date.now() % 2 ** 30)
}

const soaking = process.env.MILLRACE_SOAK === '1'

/** How often a repeated experiment runs: `quick` times in `npm test`, `full` times in `npm run soak`. */
export function repetitions(counts: { quick: number; full: number }): number {
  return soaking ? counts.full : counts.quick
}

import { defineConfig } from 'vitest/config'
import { SummaryReporter } from './test/helpers/summary-reporter.ts'

/** The slow tier: full counts, seeds printed. `MILLRACE_SOAK` is what `test/helpers/tier.ts` reads. */
export default defineConfig({
  test: {
    include: ['test/soak/**/*.test.ts'],
    env: { MILLRACE_SOAK: '1' },
    testTimeout: 10 * 60_000,
    hookTimeout: 20_000,
    pool: 'forks',
    maxWorkers: 2,
    execArgv: ['--expose-gc'],
    reporters: ['default', new SummaryReporter()],
  },
})

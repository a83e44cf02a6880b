import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/helpers/longest-first.ts'
import { PATIENCE_MS } from './test/helpers/patience.ts'
import { SummaryReporter } from './test/helpers/summary-reporter.ts'

/**
 * The slow tiers, seeds printed: full counts with `npm run soak`, and with `npm run soak:long`, which has the mode `long`,
 * the counts that take longer than 15 minutes. `MILLRACE_TIER` is what `test/helpers/tier.ts` reads.
 */
export default defineConfig(({ mode }) => ({
  test: {
    include: ['test/soak/**/*.test.ts'],
    env: { MILLRACE_TIER: mode === 'long' ? 'long' : 'soak' },
    testTimeout: (mode === 'long' ? 240 : 10) * 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: PATIENCE_MS } },
    globalSetup: './test/helpers/script-compiler.ts',
    pool: 'forks',
    maxWorkers: 2,
    execArgv: ['--expose-gc'],
    sequence: { sequencer: LongestFirst },
    reporters: ['default', new SummaryReporter()],
  },
}))

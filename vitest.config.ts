import { configDefaults, defineConfig } from 'vitest/config'
import { SummaryReporter } from './test/helpers/summary-reporter.ts'

/** The quick tier: all behaviour, with reduced counts. */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts', 'examples/*.test.ts'],
    exclude: [...configDefaults.exclude, 'dist/**', 'test/soak/**'],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    // Processes, not threads: tests send signals, freeze children and measure the heap.
    pool: 'forks',
    // Three at a time also on a small machine: many files wait for sockets and child processes most of their time.
    maxWorkers: 3,
    execArgv: ['--expose-gc'],
    reporters: ['default', new SummaryReporter()],
    coverage: { include: ['protocol/**', 'formats/**', 'client-sdk/**', 'adapters/**', 'server/**'] },
  },
})

import { defineConfig } from 'vitest/config'
import { PATIENCE_MS } from './test/helpers/patience.ts'
import { SummaryReporter } from './test/helpers/summary-reporter.ts'

/** The package as its users meet it: what it exports and compiles to, and every example. Compilers need most of the time. */
export const PACKAGE_TESTS = [
  'test/api-reference.test.ts',
  'test/consumer-types.test.ts',
  'test/examples.test.ts',
  'test/guide-examples.test.ts',
  'test/package.test.ts',
  'test/types.test.ts',
  'test/e2e/browser-examples.test.ts',
  'examples/*.test.ts',
]

export default defineConfig({
  test: {
    include: PACKAGE_TESTS,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: PATIENCE_MS } },
    globalSetup: './test/helpers/script-compiler.ts',
    pool: 'forks',
    maxWorkers: 2,
    isolate: false,
    reporters: ['default', new SummaryReporter()],
  },
})

import { configDefaults, defineConfig, type TestProjectConfiguration } from 'vitest/config'
import { LongestFirst } from './test/helpers/longest-first.ts'
import { PATIENCE_MS } from './test/helpers/patience.ts'
import { PROGRAM_TESTS } from './test/helpers/program-tests.ts'
import { SummaryReporter } from './test/helpers/summary-reporter.ts'
import { PACKAGE_TESTS } from './vitest.package.config.ts'

/** Files that measure memory, or count what code does: each has a process of its own, with nothing in it from others. */
const MEASURING_MEMORY = [
  'test/protocol/scan.test.ts',
  'test/client-sdk/{answer-text,input-data}.test.ts',
  'test/server/router.test.ts',
  'test/server/stores/memory-outbox.test.ts',
  'test/server/log/{log,payload}.test.ts',
  'test/server/workflows/large-data-sets.test.ts',
  'test/server/process/memory-watch.test.ts',
  'test/server/runs/{child-runs,ended-run-memory}.test.ts',
  'test/e2e/{frozen-dashboard,leaks,many-watchers,model-speed}.test.ts',
  'test/hostile/frame-cost.test.ts',
]

/** On another transport, only those files run in which it is another one. */
const NOT_CONCERNED =
  process.env['MILLRACE_TEST_TRANSPORT'] === undefined
    ? []
    : (await import('./test/helpers/tests-by-import.ts')).testsWithoutTransport()

/**
 * All behaviour, with reduced counts, in two tiers: `npm test` runs what needs nothing but Node, and
 * `npm run test:programs` what starts a program: the command line, a browser, a Redis. Examples and types are tested by
 * vitest.package.config.ts.
 */
export default defineConfig({
  test: {
    // Long: a machine that has other things to do makes every wait longer.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: PATIENCE_MS } },
    // Processes, not threads: tests send signals, freeze children and measure the heap.
    globalSetup: './test/helpers/script-compiler.ts',
    pool: 'forks',
    // Three at a time also on a small machine: many files wait for sockets and child processes most of their time.
    maxWorkers: 3,
    execArgv: ['--expose-gc'],
    sequence: { sequencer: LongestFirst },
    reporters: ['default', new SummaryReporter()],
    coverage: {
      include: ['protocol/**', 'formats/**', 'client-sdk/**', 'adapters/**', 'react/**', 'server/**', 'verify/**'],
    },
    projects: [
      // One process loads the sources once for all files that it runs, one after the other.
      project('shared', { isolate: false, include: ['test/**/*.test.ts'] }, [...MEASURING_MEMORY, ...PROGRAM_TESTS]),
      project('memory', { isolate: true, include: MEASURING_MEMORY }),
      project('programs', { isolate: false, include: PROGRAM_TESTS }, MEASURING_MEMORY),
    ],
  },
})

function project(
  name: string,
  test: { isolate: boolean; include: readonly string[] },
  except: readonly string[] = [],
): TestProjectConfiguration {
  const exclude = [...configDefaults.exclude, 'dist/**', 'test/soak/**', ...PACKAGE_TESTS, ...except, ...NOT_CONCERNED]
  return { extends: true, test: { ...test, name, include: [...test.include], exclude } }
}

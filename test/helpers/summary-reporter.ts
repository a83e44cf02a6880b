import type { Reporter, SerializedError, TestModule } from 'vitest/node'

/** What a whole test run came to. A file that did not load and an error outside any test each count as failed. */
type Summary = { passed: number; failed: number; skipped: number }

function summarize(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): Summary {
  const summary: Summary = { passed: 0, failed: unhandledErrors.length, skipped: 0 }
  for (const module of modules) {
    summary.failed += module.errors().length
    for (const suite of module.children.allSuites()) summary.failed += suite.errors().length
    for (const test of module.children.allTests()) {
      const { state } = test.result()
      if (state === 'passed') summary.passed++
      else if (state === 'failed') summary.failed++
      else summary.skipped++
    }
  }
  return summary
}

/**
 * Closes a test run with the plain line `N passed, N failed, N skipped`.
 *
 * Where skips are forbidden (`CI` or `MILLRACE_FORBID_SKIPS=1` in the environment), a skipped or todo test fails the
 * run: a test that silently stopped running is worse than a red one.
 */
export class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const { passed, failed, skipped } = summarize(modules, unhandledErrors)
    if (skipped > 0 && skipsForbidden()) {
      process.exitCode = 1
      console.error(`\nskipped tests are forbidden here (CI or MILLRACE_FORBID_SKIPS=1), and these did not run:`)
      for (const module of modules) {
        for (const test of module.children.allTests('skipped')) {
          console.error(`  ${module.relativeModuleId} > ${test.fullName}`)
        }
      }
    }
    console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`)
  }
}

function skipsForbidden(): boolean {
  const { CI, MILLRACE_FORBID_SKIPS } = process.env
  return MILLRACE_FORBID_SKIPS === '1' || (CI !== undefined && CI !== '' && CI !== '0' && CI !== 'false')
}

import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** In the soak, what takes more than a minute. */
const LONG =
  /\/test\/((simulation|verify)\/|soak\/(cuts|leaks|models|react|store-simulation|stored-runs|stores|verify)\.)/

/**
 * The order in which test files begin: simulations first, which are long searches, and those in which servers are judged,
 * which wait most of their time. All other processes would wait for them at the end, and nobody knows how long a file takes
 * in a fresh checkout.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isLong = ({ moduleId }: TestSpecification): boolean => LONG.test(moduleId)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

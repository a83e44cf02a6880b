import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * The order in which test files begin: simulations first. Each is one long search, for which all other processes would wait
 * at the end, and nobody knows how long a file takes in a fresh checkout.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isLong = ({ moduleId }: TestSpecification): boolean => moduleId.includes('/test/simulation/')
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

import { Session } from 'node:inspector'
import { fileURLToPath } from 'node:url'

/** What `Profiler.takePreciseCoverage` gives, as far as it is read here. */
type Coverage = {
  readonly result: readonly {
    readonly url: string
    readonly functions: readonly {
      readonly functionName: string
      readonly ranges: readonly { readonly startOffset: number; readonly count: number }[]
    }[]
  }[]
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const session = new Session()
session.connect()
session.post('Profiler.enable')
// From here on: what was compiled before counts only its calls. That is why this is the first import of a test.
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })

/**
 * How often each function and each block of `server/` and `protocol/` was executed in this process, since it was asked
 * last: work that depends on no clock. Loops inside the engine (a spread, an `includes`) count as one.
 */
export class Work {
  readonly #counts = new Map<string, number>()
  readonly #calls = new Map<string, number>()

  /** What was done since `take` was called last. */
  static take(): Work {
    const work = new Work()
    session.post('Profiler.takePreciseCoverage', (error, coverage: Coverage) => {
      if (error) throw error
      for (const { url, functions } of coverage.result) {
        const path = url.replace(/^file:\/\//, '').replace(root, '')
        if (!path.startsWith('server/') && !path.startsWith('protocol/')) continue
        for (const { functionName, ranges } of functions) {
          const [whole] = ranges
          work.#calls.set(functionName, work.calls(functionName) + (whole?.count ?? 0))
          for (const { startOffset, count } of ranges) work.#add(`${path} ${functionName} +${startOffset}`, count)
        }
      }
    })
    return work
  }

  get total(): number {
    let total = 0
    for (const count of this.#counts.values()) total += count
    return total
  }

  /** How often functions of that name were called, or classes of that name made. */
  calls(name: string): number {
    return this.#calls.get(name) ?? 0
  }

  /** The places that were executed most often beyond what `before` says, one a line. */
  beyond(before: Work, most = 8): string {
    return [...this.#counts]
      .map(([place, count]) => ({ place, more: count - (before.#counts.get(place) ?? 0) }))
      .sort((a, b) => b.more - a.more)
      .slice(0, most)
      .map(({ place, more }) => `${more} more: ${place}`)
      .join('\n')
  }

  #add(place: string, count: number): void {
    if (count > 0) this.#counts.set(place, (this.#counts.get(place) ?? 0) + count)
  }
}

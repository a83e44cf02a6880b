import { vi } from 'vitest'
import { Run } from '../../server/runs/run.ts'

/**
 * The runs that were joined since, in order: what a store behind the server would reach, which gives a log
 * another life.
 */
export function capturedRuns(): { readonly runs: Run[]; readonly newest: Run } & Disposable {
  const join = vi.spyOn(Run.prototype, 'join')
  const runs = (): Run[] => [...new Set(join.mock.contexts as Run[])]
  return {
    get runs() {
      return runs()
    },
    get newest() {
      const newest = runs().at(-1)
      if (!newest) throw new Error('no run yet')
      return newest
    },
    [Symbol.dispose]() {
      join.mockRestore()
    },
  }
}

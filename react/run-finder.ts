import type { ListedRun, StartOptions } from '../client-sdk/index.ts'

/** Finds the run that a page shows next, in the list of the server. */
export type RunFinder = (runs: readonly ListedRun[]) => ListedRun | undefined

/**
 * Each run of the list is considered once, when it first appears: the list may be older than a run that was just started
 * here, and must not bring back the one before it.
 *
 * @param wanted What the `meta` of the run has.
 * @returns A function that gives the newest of those that it has not considered, if one is wanted.
 */
export function createRunFinder(actor: string, wanted: NonNullable<StartOptions['meta']>): RunFinder {
  const seen = new Set<string>()
  const hasAll = (meta: StartOptions['meta']): boolean =>
    Object.entries(wanted).every(([name, value]) => JSON.stringify(meta?.[name]) === JSON.stringify(value))
  return (runs) => {
    const news = runs.filter((run) => !seen.has(run.id))
    for (const run of news) seen.add(run.id)
    return news.findLast((run) => run.actor === actor && hasAll(run.meta))
  }
}

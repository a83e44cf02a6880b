import type { FleetRun } from './fleet.ts'

/**
 * Why a run is stuck. `unstoppable`: it was told to stop and has not. `unread`: it waits for a reader that does not read.
 */
export type StuckReason = 'unstoppable' | 'unread'

/** A run that is stuck, and since when, by the server's clock. */
export type Stuck = { readonly run: FleetRun; readonly why: StuckReason; readonly since: number }

/** How long each may last before anybody has to know, in milliseconds. */
const PATIENCE: { readonly [why in StuckReason]: number } = { unstoppable: 2_000, unread: 10_000 }

/** Why each run may be stuck, and since when. */
type Since = Map<string, { readonly why: StuckReason; readonly since: number }>

/** Finds the runs that are stuck, by what an inspector reports of them again and again. */
export class StuckWatch {
  #since: Since = new Map()

  /** @param at the time of these runs, in milliseconds. @returns those that are stuck, the longest first. */
  look(runs: Iterable<FleetRun>, at: number): readonly Stuck[] {
    const since: Since = new Map()
    const stuck: Stuck[] = []
    for (const run of runs) {
      const why = reasonOf(run)
      if (why === undefined) continue
      const before = this.#since.get(run.id)
      const found = before?.why === why ? before : { why, since: at }
      since.set(run.id, found)
      if (at - found.since >= PATIENCE[why]) stuck.push({ run, ...found })
    }
    this.#since = since
    return stuck.sort((a, b) => a.since - b.since)
  }
}

function reasonOf({ state, live }: FleetRun): StuckReason | undefined {
  if (!live) return undefined
  if (state === 'settling' || state === 'ended') return 'unstoppable'
  if (state !== 'running' || !live.gated || live.itemsPerSec > 0) return undefined
  // Somebody holds it back on purpose.
  const isPaused = live.readers.some(({ policy, perSec }) => policy === 'pace' && perSec === 0)
  return isPaused ? undefined : 'unread'
}

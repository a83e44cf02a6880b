import { type FleetRun, type FleetRuns, isLive } from './fleet.ts'
import type { Place, ShownState } from './place.ts'

/** The runs that a filter lets through. Children of a run on the list are shown with it, unless a text asks for them. */
export function filtered(
  { all, byId }: FleetRuns,
  { text, actor, state }: Pick<Place, 'text' | 'actor' | 'state'>,
): readonly FleetRun[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  return all.filter((run) => {
    if (actor !== '' && run.actor !== actor) return false
    if (state !== '' && stateOf(run) !== state && !(state === 'live' && isLive(run))) return false
    if (words.length === 0) return run.parent === undefined || !byId.has(run.parent)
    const said = `${run.actor} ${run.id} ${run.principal ?? ''} ${stateOf(run)}`.toLowerCase()
    return words.every((word) => said.includes(word))
  })
}

/** The state of a run in one word, as the list shows it. */
export function stateOf({ state, outcome }: Pick<FleetRun, 'state' | 'outcome'>): ShownState {
  if (state === 'waiting_input') return 'waiting'
  if (state !== 'ended') return 'live'
  return outcome ?? 'done'
}

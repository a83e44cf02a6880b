import type { FleetRun } from '../state/fleet.ts'

const WORDS: { readonly [state in FleetRun['state']]: string } = {
  opening: 'starting',
  running: 'running',
  waiting_input: 'waiting',
  settling: 'stopping',
  ended: 'ended',
}

/** The state of a run, as a word with a colour. */
export function StateBadge({ run }: { run: Pick<FleetRun, 'state' | 'outcome' | 'live'> }) {
  const { state, outcome, live } = run
  const word =
    state === 'ended' ? (live ? 'not stopped' : (outcome ?? 'ended')) : live?.gated ? 'held back' : WORDS[state]
  return (
    <span className="state" data-state={word.replace(' ', '-')}>
      {word}
    </span>
  )
}

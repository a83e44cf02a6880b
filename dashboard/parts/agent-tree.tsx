import type { AgentPart, RunPart } from 'millrace/react'
import { useMemo } from 'react'
import { useFleet } from '../page-context.ts'
import type { FleetRun } from '../state/fleet.ts'
import { rate, shortId } from '../state/format.ts'
import { Link } from './link.tsx'
import { StateBadge } from './state-badge.tsx'

type TreeProps = { run: FleetRun; parts: readonly RunPart[]; slot: 'run' | 'beside' }

/** Levels of runs below a run that are shown. */
const MAX_DEPTH = 8

/** The agents of a run: its children that go on, below each other, and those that have ended. */
export function AgentTree({ run, parts, slot }: TreeProps) {
  const { children } = useFleet()
  const agents = useMemo(() => parts.filter((part): part is AgentPart => part.type === 'agent'), [parts])
  const below = children.get(run.id) ?? []
  // Those that are runs of the list are shown as such.
  const ended = agents.filter(({ state, agent }) => state !== 'running' && !below.some(({ id }) => id === agent))
  if (below.length === 0 && ended.length === 0) return null
  return (
    <details className="tree" open>
      <summary>
        Agents <span className="faint">{below.length + ended.length}</span>
      </summary>
      <ul>
        {below.map((child) => (
          <Branch key={child.id} run={child} slot={slot} depth={0} />
        ))}
        {ended.map((agent, at) => (
          <li key={at}>
            <span>{agent.name}</span>{' '}
            <span className="state" data-state={agent.state}>
              {agent.state === 'ok' ? 'done' : agent.state}
            </span>
          </li>
        ))}
      </ul>
    </details>
  )
}

function Branch({ run, slot, depth }: { run: FleetRun; slot: 'run' | 'beside'; depth: number }) {
  const { children } = useFleet()
  const below = depth < MAX_DEPTH ? (children.get(run.id) ?? []) : []
  return (
    <li>
      <Link to={{ [slot]: run.id, tab: 'output' }}>{run.actor}</Link> <span className="row-id">{shortId(run.id)}</span>{' '}
      <StateBadge run={run} /> {run.live && <span className="faint">{rate(run.live.itemsPerSec)}/s</span>}
      {below.length > 0 && (
        <ul>
          {below.map((child) => (
            <Branch key={child.id} run={child} slot={slot} depth={depth + 1} />
          ))}
        </ul>
      )}
    </li>
  )
}

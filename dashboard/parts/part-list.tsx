import type { TargetCancelResult } from 'millrace/client'
import type { RunPart } from 'millrace/react'
import { useMemo, useRef } from 'react'
import { PartView } from './part-view.tsx'

type PartListProps = {
  parts: readonly RunPart[]
  /** Stops a tool call. Undefined: one may not. */
  stop?: ((call: string) => Promise<TargetCancelResult>) | undefined
}

/** What a run has said and done, in order. */
export function PartList({ parts, stop }: PartListProps) {
  const names = useAgentNames(parts)
  return (
    <div className="parts">
      {parts.map((part, at) => (
        <PartView
          key={at}
          part={part}
          agent={part.agent === undefined ? undefined : (names.get(part.agent) ?? part.agent)}
          stop={stop}
        />
      ))}
    </div>
  )
}

/** What the agents of a run are called, by their ids. The same map until an agent begins. */
function useAgentNames(parts: readonly RunPart[]): ReadonlyMap<string, string> {
  const before = useRef<ReadonlyMap<string, string>>(new Map())
  return useMemo(() => {
    const names = new Map(before.current)
    for (const part of parts) if (part.type === 'agent' && part.agent !== undefined) names.set(part.agent, part.name)
    if (names.size === before.current.size) return before.current
    before.current = names
    return names
  }, [parts])
}

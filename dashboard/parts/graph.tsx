import type { RunPart } from 'millrace/react'
import { useMemo } from 'react'
import type { Box } from '../state/server-api.ts'

type StepStates = ReadonlyMap<string, string>

/** The steps of a workflow or of a team, with how far a run is in each. */
export function Graph({ boxes, parts }: { boxes: readonly Box[]; parts: readonly RunPart[] }) {
  const states = useMemo(() => stepStates(parts), [parts])
  return (
    <div className="graph">
      <Boxes boxes={boxes} states={states} />
    </div>
  )
}

function Boxes({ boxes, states }: { boxes: readonly Box[]; states: StepStates }) {
  return (
    <ol className="boxes">
      {boxes.map((box, at) => (
        <li key={at} className="box" data-look={box.look} data-status={states.get(box.name)}>
          <span className="box-name">{box.name}</span>
          {box.note !== '' && <span className="faint">{box.note}</span>}
          {states.has(box.name) && (
            <span className="state" data-state={states.get(box.name)}>
              {states.get(box.name)}
            </span>
          )}
          {box.columns.length > 0 && (
            <div className="columns">
              {box.columns.map(({ label, boxes: inner }, column) => (
                <div key={column}>
                  {label !== undefined && <span className="faint">{label}</span>}
                  <Boxes boxes={inner} states={states} />
                </div>
              ))}
            </div>
          )}
        </li>
      ))}
    </ol>
  )
}

/** How far a run is in each step, by its name. A step that is done again counts as it is now. */
function stepStates(parts: readonly RunPart[]): StepStates {
  const states = new Map<string, string>()
  for (const part of parts)
    if (part.type === 'step') states.set(part.name, part.status === 'start' ? 'running' : part.status)
  return states
}

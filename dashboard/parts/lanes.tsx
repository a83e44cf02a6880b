import { memo } from 'react'
import { duration } from '../state/format.ts'
import type { Lane } from '../state/timeline-lanes.ts'

type LanesProps = { lanes: readonly Lane[]; totalMs: number; ms: number }

/** What went on, line by line, with the moment that is shown. */
export function Lanes({ lanes, totalMs, ms }: LanesProps) {
  const at = totalMs === 0 ? 100 : (ms / totalMs) * 100
  return (
    <div className="lanes">
      <Lines lanes={lanes} totalMs={totalMs} />
      <div className="moment-area" aria-hidden="true">
        <div className="moment" style={{ left: `${at}%` }} />
      </div>
    </div>
  )
}

/** They stay as they are while a replay goes on. */
const Lines = memo(function Lines({ lanes, totalMs }: Omit<LanesProps, 'ms'>) {
  const part = (ms: number): string => `${totalMs === 0 ? 0 : (ms / totalMs) * 100}%`
  return (
    <ul>
      {lanes.map(({ name, spans }) => (
        <li key={name}>
          <span className="lane-name" title={name}>
            {name}
          </span>
          <span className="lane">
            {spans.map(({ from, to, label, kind }, at) => (
              <span
                key={at}
                className="span"
                data-kind={kind}
                style={{ left: part(from), width: part(to - from) }}
                title={`${label}: ${duration(to - from)}, from ${duration(from)}`}
              />
            ))}
          </span>
        </li>
      ))}
    </ul>
  )
})

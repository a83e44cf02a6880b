import type { InspectedSession } from 'millrace/client'
import { count, shortId } from '../state/format.ts'

/** Sessions that are shown: those with the most runs. */
const MAX_SHOWN = 50

/** The client instances that the server knows, and how many runs each has. */
export function SessionTable({ sessions }: { sessions: readonly InspectedSession[] }) {
  const shown = [...sessions].sort((a, b) => b.runs - a.runs).slice(0, MAX_SHOWN)
  if (shown.length === 0) return null
  return (
    <details className="sessions">
      <summary>
        Sessions <span className="faint">{count(sessions.length)}</span>
      </summary>
      <table>
        <thead>
          <tr>
            <th scope="col">Session</th>
            <th scope="col">Principal</th>
            <th scope="col">Connection</th>
            <th scope="col">Live runs</th>
          </tr>
        </thead>
        <tbody>
          {shown.map(({ id, principal, connected, runs }) => (
            <tr key={id}>
              <td>
                <code>{shortId(id)}</code>
              </td>
              <td>{principal}</td>
              <td>
                <span className="state" data-state={connected ? 'running' : 'waiting'}>
                  {connected ? 'connected' : 'away'}
                </span>
              </td>
              <td>{count(runs)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {sessions.length > MAX_SHOWN && <p className="faint">The {MAX_SHOWN} with the most runs are shown.</p>}
    </details>
  )
}

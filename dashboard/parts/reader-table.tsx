import type { FleetRun } from '../state/fleet.ts'
import { count } from '../state/format.ts'

/** Who reads a run, and how far each is. */
export function ReaderTable({ run: { live } }: { run: FleetRun }) {
  if (!live || live.readers.length === 0) return <p className="faint">Nobody reads it.</p>
  return (
    <>
      <table>
        <thead>
          <tr>
            <th scope="col">Policy</th>
            <th scope="col">Whose</th>
            <th scope="col">Rate</th>
            <th scope="col">Credit</th>
            <th scope="col">Lag</th>
          </tr>
        </thead>
        <tbody>
          {live.readers.map(({ policy, own, perSec, credit, lag }, at) => (
            <tr key={at}>
              <td>{policy}</td>
              <td>{own ? 'its principal' : 'an observer'}</td>
              <td>{perSec === undefined ? 'no limit' : perSec === 0 ? 'paused' : `${perSec}/s`}</td>
              <td>{count(credit)}</td>
              <td>{count(lag)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p className="faint">
        Credit is what may still be sent to a reader, and lag the items that it has not been sent yet. This page is a
        reader of the run that is open, and another one for its row in the list.
      </p>
    </>
  )
}

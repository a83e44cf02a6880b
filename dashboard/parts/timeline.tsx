import type { FleetRun } from '../state/fleet.ts'

export function Timeline({ run }: { run: FleetRun }) {
  return <p className="faint">{run.id}</p>
}

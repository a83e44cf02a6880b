import { useFleet, usePage, usePlace } from '../page-context.ts'
import { stateOf } from '../state/filter.ts'
import type { FleetRun } from '../state/fleet.ts'
import { shortId } from '../state/format.ts'

/** Runs that the menu offers: of the same actor first. */
const MAX_OFFERED = 50

/** Opens another run beside this one. */
export function CompareMenu({ run }: { run: FleetRun }) {
  const { router } = usePage()
  const { beside } = usePlace()
  const { all } = useFleet()
  const others = all
    .filter(({ id }) => id !== run.id)
    .sort((a, b) => Number(b.actor === run.actor) - Number(a.actor === run.actor))
    .slice(0, MAX_OFFERED)
  if (others.length === 0) return null
  return (
    <select
      className="small compare"
      aria-label="Show another run beside this one"
      value={beside ?? ''}
      onChange={({ target }) => router.go({ beside: target.value || undefined })}
    >
      <option value="">Compare with …</option>
      {others.map((other) => (
        <option key={other.id} value={other.id}>
          {other.actor} {shortId(other.id)} ({stateOf(other)})
        </option>
      ))}
    </select>
  )
}

import { useMemo } from 'react'
import { useFleet, usePage, usePlace } from '../page-context.ts'
import { SHOWN_STATES, type ShownState } from '../state/place.ts'
import { Icon } from './icon.tsx'

/** Narrows the list of runs. The filter is in the address. */
export function FilterBar() {
  const { router } = usePage()
  const { text, actor, state } = usePlace()
  const { all } = useFleet()
  const actors = useMemo(
    () => [...new Set([...all.map((run) => run.actor), ...(actor ? [actor] : [])])].sort(),
    [all, actor],
  )
  return (
    <search className="filter">
      <label className="search">
        <Icon name="search" />
        <input
          id="filter"
          type="search"
          value={text}
          placeholder="Filter runs"
          aria-label="Filter runs by actor, id, principal or state"
          aria-keyshortcuts="/"
          onChange={({ target }) => router.go({ text: target.value }, 'replace')}
        />
      </label>
      <select aria-label="Actor" value={actor} onChange={({ target }) => router.go({ actor: target.value }, 'replace')}>
        <option value="">All actors</option>
        {actors.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
      <select
        aria-label="State"
        value={state}
        onChange={({ target }) => router.go({ state: target.value as ShownState | '' }, 'replace')}
      >
        <option value="">All states</option>
        {SHOWN_STATES.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </search>
  )
}

import { useVirtualizer } from '@tanstack/react-virtual'
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from 'react'
import { useFleet, usePage, usePlace } from '../page-context.ts'
import { filtered } from '../state/filter.ts'
import { EmptyList } from './empty-list.tsx'
import { RunRow } from './run-row.tsx'

const ROW_PX = 64
/** Rows above and below the view. */
const OVERSCAN = 6

/** All runs that the filter lets through. Only the rows in view are in the document, and only their runs are read. */
export function RunList() {
  const { session } = usePage()
  const place = usePlace()
  const fleet = useFleet()
  const { text, actor, state } = place
  const runs = useMemo(() => filtered(fleet, { text, actor, state }), [fleet, text, actor, state])
  const view = useRef<HTMLDivElement>(null)
  const [current, setCurrent] = useState<string>()
  const virtual = useVirtualizer({
    count: runs.length,
    getScrollElement: () => view.current,
    estimateSize: () => ROW_PX,
    getItemKey: (at) => runs[at]!.id,
    overscan: OVERSCAN,
  })
  const rows = virtual.getVirtualItems()
  const shown = rows.map(({ index }) => runs[index]!)
  useEffect(() => session.previews.show(shown))
  useEffect(() => () => session.previews.show([]), [session])

  const at = Math.max(0, current === undefined ? 0 : runs.findIndex(({ id }) => id === current))
  const move = (event: KeyboardEvent): void => {
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: runs.length - 1, PageDown: at + 8, PageUp: at - 8 }[
      event.key
    ]
    if (to === undefined || runs.length === 0) return
    event.preventDefault()
    const next = Math.min(runs.length - 1, Math.max(0, to))
    setCurrent(runs[next]!.id)
    virtual.scrollToIndex(next)
    // It may come into the document only with the next frame.
    requestAnimationFrame(() =>
      view.current?.querySelector<HTMLElement>(`[data-run="${CSS.escape(runs[next]!.id)}"]`)?.focus(),
    )
  }

  if (runs.length === 0) return <EmptyList />
  return (
    <div className="list" ref={view} onKeyDown={move}>
      <ul style={{ height: virtual.getTotalSize() }}>
        {rows.map(({ index, start, key }) => {
          const run = runs[index]!
          return (
            <li
              key={key}
              style={{ transform: `translateY(${start}px)`, height: ROW_PX }}
              aria-setsize={runs.length}
              aria-posinset={index + 1}
            >
              <RunRow
                run={run}
                at={run.live ? fleet.at : 0}
                isOpen={run.id === place.run || run.id === place.beside}
                isCurrent={index === at}
                children={fleet.children.get(run.id)?.length ?? 0}
              />
            </li>
          )
        })}
      </ul>
    </div>
  )
}

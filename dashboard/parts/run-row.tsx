import { memo } from 'react'
import { usePage } from '../page-context.ts'
import { type FleetRun, isLive } from '../state/fleet.ts'
import { clock, duration, rate, shortId, things } from '../state/format.ts'
import { useStore } from '../use-store.ts'
import { Link } from './link.tsx'
import { Spark } from './spark.tsx'
import { StateBadge } from './state-badge.tsx'

type RowProps = {
  run: FleetRun
  /** The time of the last report. */
  at: number
  isOpen: boolean
  /** Whether the keyboard comes here. */
  isCurrent: boolean
  /** The number of its children. */
  children: number
}

/** One run of the list: what it is, what it says, and how fast. */
export const RunRow = memo(function RunRow({ run, at, isOpen, isCurrent, children }: RowProps) {
  const { session } = usePage()
  const { id, actor, principal, isOwn, live, startedAt, items } = run
  return (
    <Link
      to={{ run: id, beside: undefined, tab: 'output' }}
      className="row"
      data-run={id}
      tabIndex={isCurrent ? 0 : -1}
      aria-current={isOpen ? 'true' : undefined}
    >
      <span className="row-head">
        <b className="row-actor">{actor}</b>
        <StateBadge run={run} />
        {children > 0 && <span className="faint">+{children}</span>}
        <span className="row-id">{shortId(id)}</span>
      </span>
      <span className="row-figures">
        {isLive(run) && live ? (
          <>
            <Spark series={session.feed.rateOf(id)} at={at} />
            <span className="row-rate">{rate(live.itemsPerSec)}/s</span>
          </>
        ) : (
          <span className="faint">{things(items, 'item')}</span>
        )}
      </span>
      <Words run={run} />
      <span className="row-age">
        {live?.node !== undefined && <span className="row-principal">on {live.node || 'no server'}</span>}
        {!isOwn && principal !== undefined && <span className="row-principal">{principal}</span>}
        {isLive(run) ? duration(at - startedAt) : clock(startedAt)}
      </span>
    </Link>
  )
})

/** Its last words, the newest on the right. */
function Words({ run: { id, live } }: { run: FleetRun }) {
  const { session } = usePage()
  const text = useStore(session.previews.textOf(id))
  const said = text.replace(/\s+/g, ' ').trim()
  return (
    <span className="row-words">
      <bdi>{said === '' && live?.detached && live.node === undefined ? 'nobody reads it' : said}</bdi>
    </span>
  )
}

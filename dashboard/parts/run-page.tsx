import type { CancelResult } from 'millrace/client'
import { useRun } from 'millrace/react'
import { useState } from 'react'
import { useFleet, usePage, usePlace } from '../page-context.ts'
import { type FleetRun, isLive } from '../state/fleet.ts'
import { clock, duration } from '../state/format.ts'
import { TABS, type Tab } from '../state/place.ts'
import { useAllowed } from '../use-allowed.ts'
import { useStore } from '../use-store.ts'
import { AgentTree } from './agent-tree.tsx'
import { ChunkView } from './chunk-view.tsx'
import { CompareMenu } from './compare-menu.tsx'
import { Graph } from './graph.tsx'
import { Icon } from './icon.tsx'
import { Link } from './link.tsx'
import { Output } from './output.tsx'
import { timelineChunk } from './part-chunks.ts'
import { ReaderTable } from './reader-table.tsx'
import { ReceiptCard } from './receipt-card.tsx'
import { RequestForm } from './request-form.tsx'
import { RunControls } from './run-controls.tsx'
import { RunFigures } from './run-figures.tsx'
import { StateBadge } from './state-badge.tsx'

const TAB_WORDS: { readonly [tab in Tab]: string } = {
  output: 'Output',
  timeline: 'Timeline',
  graph: 'Graph',
  readers: 'Readers',
}

type RunPageProps = { run: FleetRun; slot: 'run' | 'beside' }

/** One run: what it says as it comes, how it is doing, and what one can do with it. */
export function RunPage({ run, slot }: RunPageProps) {
  const { session, router } = usePage()
  const { tab } = usePlace()
  const { children } = useFleet()
  const actors = useStore(session.actors)
  const [limit, setLimit] = useState<number>()
  const [result, setResult] = useState<CancelResult>()
  const may = useAllowed(run.id)
  // It never holds the run back: text that waits for this page is joined.
  const shown = useRun(session.client, run.actor, { id: run.id, policy: 'merge' })
  const boxes = actors.find(({ name }) => name === run.actor)?.boxes ?? []
  const isFlow = boxes.some(({ look, columns }) => look === 'group' || columns.length > 0) || boxes.length > 1
  const tabs = TABS.filter((one) => (one !== 'graph' || isFlow) && (one !== 'readers' || run.live !== undefined))
  const current = tabs.includes(tab) ? tab : 'output'
  const receipt = shown.receipt ?? (result?.confirmed && 'provider' in result ? result : undefined)
  const isChildElsewhere = shown.error?.code === 'not_found' && run.parent !== undefined && run.live?.node !== undefined
  return (
    <section className="run" aria-label={`Run of ${run.actor}`}>
      <div className="run-top">
        <header className="run-head">
          <Link
            to={slot === 'run' ? { run: undefined, beside: undefined, tab: 'output' } : { beside: undefined }}
            className="back"
            aria-label="Back to the list"
            title="Back (Escape)"
          >
            <Icon name={slot === 'run' ? 'back' : 'close'} />
          </Link>
          <div className="run-title">
            <h2>{run.actor}</h2>
            <StateBadge run={run} />
            <code className="run-id">{run.id}</code>
          </div>
          <p className="run-facts faint">
            {run.principal !== undefined && <span>{run.principal}</span>}
            {run.live?.node !== undefined && <span>on {run.live.node || 'no server'}</span>}
            {run.parent !== undefined && <Link to={{ [slot]: run.parent }}>child of {run.parent.slice(-8)}</Link>}
            <Age run={run} endedMs={shown.end?.ms} />
            {slot === 'run' && <CompareMenu run={run} />}
          </p>
        </header>
        <RunControls
          run={run}
          shown={shown}
          may={may}
          hasChildren={children.has(run.id)}
          limit={limit}
          setLimit={setLimit}
          setResult={setResult}
        />
      </div>
      {result && !result.confirmed && (
        <p role="alert" className="notice">
          The run was not cancelled: {result.code.replaceAll('_', ' ')}.
        </p>
      )}
      {receipt && <ReceiptCard receipt={receipt} outcome={shown.end?.outcome ?? 'cancelled'} />}
      {shown.error && shown.status !== 'cancelled' && (
        <p role="alert" className="notice">
          {isChildElsewhere ? (
            <>
              Another server executes this child, and what it says can be read there only.{' '}
              <Link to={{ [slot]: run.parent }}>Its parent</Link> has what it passes on of it, and stops it.
            </>
          ) : (
            <>
              <b>{shown.error.code.replaceAll('_', ' ')}</b> {shown.error.message}
            </>
          )}
        </p>
      )}
      {shown.requests.map((request) => (
        <div key={request.id} className="need">
          <RequestForm
            request={{ ...request, request: request.id }}
            isAllowed={may?.approve ?? false}
            owner={run.principal}
            approve={shown.approve}
            answer={shown.answer}
          />
        </div>
      ))}
      <RunFigures run={run} usage={shown.usage} limit={limit} />
      <AgentTree run={run} parts={shown.parts} slot={slot} />
      <div className="tabs" role="tablist" aria-label="What is shown of the run">
        {tabs.map((one) => (
          <button
            key={one}
            type="button"
            role="tab"
            id={`tab-${slot}-${one}`}
            aria-selected={one === current}
            aria-controls={`panel-${slot}`}
            tabIndex={one === current ? 0 : -1}
            onClick={() => router.go({ tab: one }, 'replace')}
            onKeyDown={({ key, currentTarget }) => {
              const to = tabs[tabs.indexOf(one) + (key === 'ArrowRight' ? 1 : key === 'ArrowLeft' ? -1 : Number.NaN)]
              if (to === undefined) return
              router.go({ tab: to }, 'replace')
              currentTarget.parentElement?.querySelector<HTMLElement>(`#tab-${slot}-${to}`)?.focus()
            }}
          >
            {TAB_WORDS[one]}
          </button>
        ))}
      </div>
      <div
        className="panel"
        role="tabpanel"
        id={`panel-${slot}`}
        aria-labelledby={`tab-${slot}-${current}`}
        tabIndex={0}
      >
        {current === 'output' && <Output shown={shown} mayCancel={may?.cancel === true && isLive(run)} />}
        {current === 'timeline' && (
          <ChunkView chunk={timelineChunk} name="The timeline">
            {(Timeline) => <Timeline run={run} />}
          </ChunkView>
        )}
        {current === 'graph' && <Graph boxes={boxes} parts={shown.parts} />}
        {current === 'readers' && <ReaderTable run={run} />}
      </div>
    </section>
  )
}

function Age({ run, endedMs }: { run: FleetRun; endedMs: number | undefined }) {
  const { at } = useFleet()
  if (isLive(run)) return <span>{duration(at - run.startedAt)}</span>
  return (
    <>
      <span>{clock(run.startedAt)}</span>
      {endedMs !== undefined && <span>took {duration(endedMs)}</span>}
    </>
  )
}

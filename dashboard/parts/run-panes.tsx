import { useFleet, usePage } from '../page-context.ts'
import { RunPage } from './run-page.tsx'

/** The run that is open, or two of them side by side. */
export function RunPanes({ run, beside }: { run: string; beside: string | undefined }) {
  return (
    <div className="panes" data-two={beside !== undefined}>
      <OneRun key={run} id={run} slot="run" />
      {beside !== undefined && <OneRun key={beside} id={beside} slot="beside" />}
    </div>
  )
}

function OneRun({ id, slot }: { id: string; slot: 'run' | 'beside' }) {
  const { router } = usePage()
  const { byId, isLoaded } = useFleet()
  const run = byId.get(id)
  if (run) return <RunPage run={run} slot={slot} />
  return (
    <section className="run" aria-label="Run">
      <div className="empty">
        {isLoaded ? (
          <>
            <h2>This run is not known</h2>
            <p>It has ended and is no longer kept, or it belongs to somebody else.</p>
            <button type="button" onClick={() => router.go({ [slot]: undefined })}>
              Close
            </button>
          </>
        ) : (
          <p className="faint">Looking for the run …</p>
        )}
      </div>
    </section>
  )
}

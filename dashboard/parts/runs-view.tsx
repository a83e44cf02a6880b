import { runChunk } from '../chunks.ts'
import { usePlace } from '../page-context.ts'
import { ChunkView } from './chunk-view.tsx'
import { FilterBar } from './filter-bar.tsx'
import { NeedsYou } from './needs-you.tsx'
import { Overview } from './overview.tsx'
import { RunList } from './run-list.tsx'

/** The list of runs, with what needs a person above it, beside the run that is open. */
export function RunsView() {
  const { run, beside } = usePlace()
  return (
    <main className="split" data-open={run !== undefined} data-wide={beside !== undefined}>
      <section className="side" aria-label="Runs">
        <NeedsYou />
        <FilterBar />
        <RunList />
      </section>
      {run === undefined ? (
        <Overview />
      ) : (
        <ChunkView chunk={runChunk} name="The view of a run">
          {(RunPanes) => <RunPanes run={run} beside={beside} />}
        </ChunkView>
      )}
    </main>
  )
}

import { useFleet, usePage, usePlace } from '../page-context.ts'
import { useStore } from '../use-store.ts'

/** What stands where no run is: why there is none, and what to do. */
export function EmptyList() {
  const { router, session } = usePage()
  const { isLoaded, error, all } = useFleet()
  const { text, actor, state } = usePlace()
  const actors = useStore(session.actors)
  if (error)
    return (
      <div className="empty">
        <h2>The server reports no runs</h2>
        <p>
          {error.code === 'not_found' ? (
            <>
              It has no actor <code>inspector</code>. Add <code>inspector: inspector()</code> to its actors.
            </>
          ) : (
            error.message
          )}
        </p>
      </div>
    )
  if (!isLoaded) return <div className="empty faint">Reading the runs of the server …</div>
  if (text || actor || state)
    return (
      <div className="empty">
        <h2>No run fits</h2>
        <p>
          {all.length} {all.length === 1 ? 'run does' : 'runs do'} not fit the filter.
        </p>
        <button type="button" onClick={() => router.go({ text: '', actor: '', state: '' })}>
          Clear the filter
        </button>
      </div>
    )
  const example = actors.find(({ name }) => name === 'chat') ?? actors.find(({ name }) => name !== 'inspector')
  return (
    <div className="empty">
      <h2>No runs yet</h2>
      <p>A run is shown here as soon as a client starts it.</p>
      {example && (
        <p>
          <code>millrace run {example.name} "Tell me about rivers" --stream</code>
        </p>
      )}
    </div>
  )
}

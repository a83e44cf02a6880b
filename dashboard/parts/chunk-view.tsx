import { type ReactNode, useEffect } from 'react'
import type { Chunk } from '../state/chunk.ts'
import { whenIdle } from '../state/when-idle.ts'
import { useStore } from '../use-store.ts'

type ChunkProps<Code> = {
  chunk: Chunk<Code>
  /** What it shows, as the subject of a sentence. */
  name: string
  /** Whether the rest of the view is of more use: it comes when the page has nothing else to do. Default false. */
  canWait?: boolean
  children: (code: Code) => ReactNode
}

/** A part of the page whose code comes when it is shown. If it does not come, one can try again. */
export function ChunkView<Code>({ chunk, name, canWait = false, children }: ChunkProps<Code>) {
  const { code, isLoading, hasFailed } = useStore(chunk)
  useEffect(() => (canWait ? whenIdle(chunk.load) : chunk.load()), [chunk, canWait])
  if (code !== undefined) return children(code)
  if (!hasFailed) return <p className="empty faint">Loading …</p>
  return (
    <div role="alert" className="empty">
      <p>{name} could not be loaded.</p>
      <p className="control-row">
        <button type="button" aria-disabled={isLoading} onClick={chunk.load}>
          {isLoading ? 'Trying again …' : 'Try again'}
        </button>
        {/* A server that has begun anew may have other files. What is shown is in the address. */}
        <button type="button" onClick={() => location.reload()}>
          Reload the page
        </button>
      </p>
    </div>
  )
}

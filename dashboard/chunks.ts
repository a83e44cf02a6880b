import { plotChunk, timelineChunk } from './parts/part-chunks.ts'
import { createChunk } from './state/chunk.ts'
import { whenIdle } from './state/when-idle.ts'

// What the list of runs does not need. Each is a file of its own, which the browser gets after the list is shown.
export const runChunk = createChunk(async () => (await import('./parts/run-panes.tsx')).RunPanes)
export const conversationsChunk = createChunk(async () => (await import('./parts/conversations.tsx')).Conversations)

/** Loads all of them, each when the page has nothing else to do: whatever one opens is there. @returns a function that stops it. */
export function prefetchChunks(): () => void {
  let isWanted = true
  const next = ([chunk, ...rest]: readonly { readonly load: () => void }[]): void => {
    if (!chunk || !isWanted) return
    whenIdle(() => {
      if (!isWanted) return
      chunk.load()
      next(rest)
    })
  }
  next([plotChunk, runChunk, timelineChunk, conversationsChunk])
  return () => {
    isWanted = false
  }
}

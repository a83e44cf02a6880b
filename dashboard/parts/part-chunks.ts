import { createChunk } from '../state/chunk.ts'

// Parts of a view that come later than the view. They know no view, so that no import goes in a circle.
export const plotChunk = createChunk(() => import('./plot-drawing.ts'))
export const timelineChunk = createChunk(async () => (await import('./timeline.tsx')).Timeline)

import { useEffect, useRef } from 'react'
import { usePage } from '../page-context.ts'
import type { Series } from '../state/series.ts'
import { useStore } from '../use-store.ts'
import { ChunkView } from './chunk-view.tsx'
import { plotChunk } from './part-chunks.ts'
import type { drawPlot } from './plot-drawing.ts'

type PlotProps = {
  /** What it shows, for a screen reader too. */
  title: string
  /** The newest value, in words. */
  value: string
  unit: string
  series: Series
  /** The clock of its times. Stays the same. */
  now: () => number
  /** The span that it shows, in seconds. */
  seconds: number
  look: 'line' | 'points'
  /** A limit that is drawn across it. */
  limit?: number | undefined
}

/** One series over the last minutes. It is drawn twice a second, outside of React. */
export function Plot({ title, value, unit, ...drawn }: PlotProps) {
  return (
    <figure className="plot">
      <figcaption>
        <span>{title}</span>
        <b>
          {value} <small>{unit}</small>
        </b>
      </figcaption>
      <div className="plot-place">
        <ChunkView chunk={plotChunk} name="The plot" canWait>
          {({ drawPlot }) => <Drawing {...drawn} draw={drawPlot} label={`${title}: ${value} ${unit}`} />}
        </ChunkView>
      </div>
    </figure>
  )
}

type DrawingProps = Omit<PlotProps, 'title' | 'value' | 'unit'> & { draw: typeof drawPlot; label: string }

function Drawing({ draw, label, series, now, seconds, look, limit }: DrawingProps) {
  const { theme } = usePage()
  const chosen = useStore(theme)
  const place = useRef<HTMLDivElement>(null)
  const limits = useRef(limit)
  limits.current = limit
  useEffect(
    () => draw(place.current!, { series, now, seconds, look, limits }),
    [draw, series, now, look, seconds, chosen],
  )
  return <div ref={place} role="img" aria-label={label} />
}

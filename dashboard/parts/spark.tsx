import type { Series } from '../state/series.ts'

const WIDTH = 64
const HEIGHT = 20
/** The span that it shows, in seconds. */
const SECONDS = 30

/** How fast a run has been in the last half minute. The number beside it says how fast it is. */
export function Spark({ series, at }: { series: Series; at: number }) {
  const [times, values] = series.points(at)
  const now = at / 1_000
  const most = Math.max(1, ...values)
  const points = times.flatMap((time, i) => {
    const x = WIDTH * (1 - (now - time) / SECONDS)
    return x < 0 ? [] : [`${x.toFixed(1)},${(HEIGHT - 1 - (values[i]! / most) * (HEIGHT - 2)).toFixed(1)}`]
  })
  return (
    <svg className="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
      <polyline points={points.join(' ')} />
    </svg>
  )
}

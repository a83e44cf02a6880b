import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import type { Series } from '../state/series.ts'

type PlotDrawing = {
  series: Series
  /** The clock of its times. */
  now: () => number
  /** The span that it shows, in seconds. */
  seconds: number
  look: 'line' | 'points'
  /** A limit that is drawn across it, as it is at each drawing. */
  limits: { readonly current: number | undefined }
}

const HEIGHT_PX = 144
/** Times that the axis names, besides now. */
const MARKS = 4
/** Between two drawings, in milliseconds. */
const EVERY_MS = 500

/** Draws a series into an element, again and again, in the colours that are chosen now. @returns a function that ends it. */
export function drawPlot(element: HTMLElement, { series, now, seconds, look, limits }: PlotDrawing): () => void {
  const { times, make } = plotIn(element, look, limits, seconds, now())
  let plot = make(series.points(now()))
  const system = matchMedia('(prefers-color-scheme: dark)')
  const anew = (): void => {
    plot.destroy()
    plot = make(series.points(now()))
  }
  const draw = (): void => {
    times.now = now()
    if (!document.hidden) plot.setData(series.points(times.now))
  }
  const timer = setInterval(draw, EVERY_MS)
  const size = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT_PX }))
  size.observe(element)
  system.addEventListener('change', anew)
  return () => {
    clearInterval(timer)
    size.disconnect()
    system.removeEventListener('change', anew)
    plot.destroy()
  }
}

function plotIn(
  element: HTMLElement,
  look: PlotDrawing['look'],
  limits: PlotDrawing['limits'],
  seconds: number,
  now: number,
) {
  const times = { now }
  const marks = Array.from({ length: MARKS + 1 }, (_, n) => (seconds / MARKS) * (MARKS - n))
  const make = (values: [number[], number[]]): uPlot => {
    const style = getComputedStyle(element)
    const color = (name: string): string => style.getPropertyValue(name).trim()
    const axis = {
      stroke: color('--plot-text'),
      grid: { stroke: color('--plot-grid'), width: 1 },
      ticks: { show: false },
      font: '11px system-ui',
    }
    const line = color('--plot-line')
    return new uPlot(
      {
        width: element.clientWidth || 320,
        height: HEIGHT_PX,
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 16, 0, 0],
        scales: {
          x: { time: true, range: () => [times.now / 1_000 - seconds, times.now / 1_000] },
          y: { range: (_, __, most) => [0, Math.max(1, most, limits.current ?? 0) * 1.1] },
        },
        axes: [
          {
            ...axis,
            size: 24,
            splits: () => marks.map((back) => times.now / 1_000 - back),
            values: () => marks.map(ago),
          },
          {
            ...axis,
            size: 40,
            space: 32,
            values: (_, splits) => splits.map((n) => (n >= 10_000 ? `${n / 1_000}k` : String(n))),
          },
        ],
        series: [
          {},
          look === 'line'
            ? { stroke: line, fill: color('--plot-fill'), width: 1.5, points: { show: false } }
            : { stroke: line, paths: () => null, points: { show: true, size: 5, fill: line } },
        ],
        hooks: { draw: [(plot: uPlot) => drawLimit(plot, limits.current, color('--plot-limit'))] },
      },
      values,
      element,
    )
  }
  return { times, make }
}

/** A time of the axis, as what has passed since. */
function ago(seconds: number): string {
  if (seconds === 0) return 'now'
  return seconds < 120 ? `−${seconds} s` : `−${seconds / 60} min`
}

function drawLimit(plot: uPlot, limit: number | undefined, color: string): void {
  if (limit === undefined) return
  const { ctx, bbox } = plot
  const y = plot.valToPos(limit, 'y', true)
  ctx.save()
  ctx.strokeStyle = color
  ctx.setLineDash([6, 4])
  ctx.lineWidth = devicePixelRatio
  ctx.beginPath()
  ctx.moveTo(bbox.left, y)
  ctx.lineTo(bbox.left + bbox.width, y)
  ctx.stroke()
  ctx.restore()
}

import type { ShownRun } from 'millrace/react'
import { useLayoutEffect, useRef } from 'react'
import { jsonText } from '../state/format.ts'
import { PartList } from './part-list.tsx'

/** Nearer to the end than this, in pixels, the view stays at the end. */
const NEAR_PX = 80

/** What a run says and does, as it comes. */
export function Output({ shown, mayCancel }: { shown: ShownRun; mayCancel: boolean }) {
  const end = useRef<HTMLDivElement>(null)
  const { parts, isLive, result, status } = shown
  useLayoutEffect(() => {
    const scroller = end.current?.closest('.run')
    if (!scroller || !isLive) return
    if (scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX + 200)
      scroller.scrollTop = scroller.scrollHeight
  }, [parts, isLive])
  const hasResult = status === 'done' && result !== undefined && typeof result !== 'string'
  return (
    <div className="output">
      {parts.length === 0 && !hasResult && (
        <p className="faint">{isLive ? 'It has not said anything yet.' : 'It has not said anything.'}</p>
      )}
      <PartList parts={parts} stop={mayCancel ? (call) => shown.stop({ call }) : undefined} />
      {hasResult && (
        <section className="part" aria-label="Result">
          <h4>Result</h4>
          <pre>{jsonText(result)}</pre>
        </section>
      )}
      <div ref={end} />
    </div>
  )
}

import type { ShownRun } from 'millrace/react'
import { useLayoutEffect, useRef } from 'react'
import { jsonText } from '../state/format.ts'
import { PartList } from './part-list.tsx'

/** Nearer to the end than this, in pixels, the view stays at the end while the run goes on. */
const NEAR_PX = 280

/** What a run says and does, as it comes. */
export function Output({ shown, mayCancel }: { shown: ShownRun; mayCancel: boolean }) {
  const end = useRef<HTMLDivElement>(null)
  const { parts, isLive, result, status } = shown
  useLayoutEffect(() => {
    const scroller = end.current?.closest('.run')
    if (!scroller || !isLive) return
    const { scrollHeight, scrollTop, clientHeight } = scroller
    // At its beginning, the page shows the rate and the controls of the run.
    if (scrollTop > 0 && scrollHeight - scrollTop - clientHeight < NEAR_PX) scroller.scrollTop = scrollHeight
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

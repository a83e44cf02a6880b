import { type CancelResult, MillraceError } from 'millrace/client'
import type { ShownRun } from 'millrace/react'
import { useId, useState } from 'react'
import { usePage } from '../page-context.ts'
import type { FleetRun } from '../state/fleet.ts'
import type { Allowed } from '../state/server-api.ts'
import { BudgetForm } from './budget-form.tsx'
import { SteerForm } from './steer-form.tsx'
import { ThrottleSlider } from './throttle-slider.tsx'

type ControlsProps = {
  run: FleetRun
  shown: ShownRun
  /** Undefined: it is not known yet. */
  may: Allowed | undefined
  hasChildren: boolean
  limit: number | undefined
  setLimit: (perSec: number | undefined) => void
  setResult: (result: CancelResult) => void
}

/** What one can do with a run that goes on. What one may not do is disabled, and it says why. */
export function RunControls({ run, shown, may, hasChildren, limit, setLimit, setResult }: ControlsProps) {
  const { session } = usePage()
  const [withChildren, setWithChildren] = useState(true)
  const [isStopping, setStopping] = useState(false)
  const [error, setError] = useState<string>()
  const why = useId()
  if (!shown.isLive) return null
  const mayOnlyLook = may !== undefined && !(may.cancel && may.govern && may.input)
  const isPaused = shown.events.findLast((event) => event.type === 'notice' && /^(paused|resumed)$/.test(event.code))
  const paused = isPaused?.type === 'notice' && isPaused.code === 'paused'
  const order = async (type: string, data: unknown): Promise<void> => {
    setError(undefined)
    await shown.send(type, data).catch((thrown: unknown) => setError(MillraceError.from(thrown).message))
  }
  /** Not by the reader whose text is shown: what cancels reads no further, and this one goes on to the end of the log. */
  const cancel = async (): Promise<void> => {
    setStopping(true)
    const how = withChildren ? {} : { cascade: false }
    const result = await session.act(run, (other) => other.cancel(how))
    setResult(result)
    if (!result.confirmed) setStopping(false)
  }
  const describedBy = mayOnlyLook ? why : undefined
  return (
    <div className="controls" role="group" aria-label="Controls">
      <div className="control-row">
        <button
          type="button"
          className="danger"
          disabled={!may?.cancel || isStopping}
          aria-describedby={describedBy}
          onClick={() => void cancel()}
        >
          {isStopping ? 'Cancelling …' : 'Cancel'}
        </button>
        {hasChildren && (
          <label className="check">
            <input type="checkbox" checked={withChildren} onChange={({ target }) => setWithChildren(target.checked)} />
            with its children
          </label>
        )}
        <button
          type="button"
          disabled={!may?.govern}
          aria-describedby={describedBy}
          aria-pressed={paused}
          onClick={() => void order('govern', { paused: !paused })}
        >
          {paused ? 'Resume' : 'Pause'}
        </button>
        <ThrottleSlider
          limit={limit}
          disabled={!may?.govern}
          set={(perSec) => {
            setLimit(perSec)
            void order('govern', { perSec: perSec ?? null })
          }}
        />
        <BudgetForm disabled={!may?.govern} set={(budget) => order('govern', { budget })} />
      </div>
      <SteerForm disabled={!may?.input} send={order} />
      {mayOnlyLook && (
        <p id={why} className="faint">
          {reasonOf(may, run.principal)}
        </p>
      )}
      {error !== undefined && <p role="alert">{error}</p>}
    </div>
  )
}

function reasonOf(may: Allowed, owner: string | undefined): string {
  const allowed = (['cancel', 'govern', 'input'] as const).filter((action) => may[action])
  const whose = `this run belongs to ${owner ?? 'somebody else'}`
  return allowed.length === 0 ? `You may only look: ${whose}.` : `Some controls are disabled: ${whose}.`
}

import type { CancelResult, TargetCancelResult } from 'millrace/client'
import { useState } from 'react'

type CancelButtonProps = { label: string; stop: () => Promise<CancelResult | TargetCancelResult>; disabled?: boolean }

/** Stops something, and says why it did not stop. */
export function CancelButton({ label, stop, disabled = false }: CancelButtonProps) {
  const [isStopping, setStopping] = useState(false)
  const [why, setWhy] = useState<string>()
  const click = async (): Promise<void> => {
    setStopping(true)
    const result = await stop()
    setStopping(false)
    setWhy(result.confirmed ? undefined : result.code)
  }
  return (
    <>
      <button type="button" className="small" disabled={disabled || isStopping} onClick={() => void click()}>
        {isStopping ? 'Stopping …' : label}
      </button>
      {why !== undefined && <span role="alert">{why.replaceAll('_', ' ')}</span>}
    </>
  )
}

import { useEffect, useState } from 'react'
import { usePage } from './page-context.ts'
import type { RunDetails } from './state/server-api.ts'

const NOTHING: RunDetails['may'] = { cancel: false, approve: false, input: false, govern: false }

/** What one may do with a run. Undefined: it is not known yet. */
export function useAllowed(id: string): RunDetails['may'] | undefined {
  const { session } = usePage()
  const [may, setMay] = useState<RunDetails['may']>()
  useEffect(() => {
    let isShown = true
    session.api.run(id).then(
      (details) => {
        if (isShown) setMay(details?.may ?? NOTHING)
      },
      () => {
        if (isShown) setMay(NOTHING)
      },
    )
    return () => {
      isShown = false
    }
  }, [session, id])
  return may
}

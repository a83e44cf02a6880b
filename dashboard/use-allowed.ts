import { useConnection } from 'millrace/react'
import { useEffect, useState } from 'react'
import { usePage } from './page-context.ts'
import type { Allowed } from './state/server-api.ts'

const NOTHING: Allowed = { cancel: false, approve: false, input: false, govern: false }

/** What one may do with a run. Undefined: it is not known yet. It is asked for again with each new connection. */
export function useAllowed(id: string): Allowed | undefined {
  const { session } = usePage()
  const { status } = useConnection(session.client)
  const [may, setMay] = useState<Allowed>()
  const isOpen = status === 'open'
  useEffect(() => {
    let isShown = isOpen
    const show = (allowed: Allowed): void => {
      if (isShown) setMay(allowed)
    }
    if (isOpen)
      session.api.run(id).then(
        (details) => show(details?.may ?? NOTHING),
        () => {},
      )
    return () => {
      isShown = false
    }
  }, [session, id, isOpen])
  return may
}

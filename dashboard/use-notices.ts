import { useEffect, useRef } from 'react'
import { usePage } from './page-context.ts'
import { useStore } from './use-store.ts'

/** Tells the user that a run asks something, by the system, while the page is hidden and if that was allowed. */
export function useNotices(): void {
  const { session, router } = usePage()
  const asked = useStore(session.asked.asked)
  const told = useRef(new Set<string>())
  useEffect(() => {
    for (const { run, details } of asked) {
      for (const { request, prompt, kind } of details.pending) {
        const name = `${run.id} ${request}`
        if (told.current.has(name)) continue
        told.current.add(name)
        if (!document.hidden || !('Notification' in globalThis) || Notification.permission !== 'granted') continue
        const notice = new Notification(`${run.actor} needs you`, { body: prompt ?? kind, tag: name })
        notice.onclick = () => {
          window.focus()
          router.go({ view: 'runs', run: run.id })
        }
      }
    }
  }, [asked, router])
}

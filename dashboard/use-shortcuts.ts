import { useEffect } from 'react'
import { usePage } from './page-context.ts'

/** Keys that work everywhere but where something is typed: `/` the filter, `n` what needs a person, `Escape` back. */
export function useShortcuts(): void {
  const { router } = usePage()
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const { target, key, ctrlKey, metaKey, altKey } = event
      if (ctrlKey || metaKey || altKey || event.defaultPrevented) return
      const isTyping =
        target instanceof HTMLElement && target.matches('input:not([type=range], [type=checkbox]), textarea, select')
      if (isTyping) {
        if (key === 'Escape') target.blur()
        return
      }
      if (key === '/') focus('#filter')
      else if (key === 'n') {
        if (!focus('.needs .need-body :is(button, input):enabled')) focus('.needs .need a')
      } else if (key === 'Escape') {
        const { run, beside, conversation } = router.get()
        if (beside !== undefined) router.go({ beside: undefined })
        else if (run !== undefined) router.go({ run: undefined, tab: 'output' })
        else if (conversation !== undefined) router.go({ conversation: undefined })
        else return
      } else return
      event.preventDefault()
    }
    addEventListener('keydown', pressed)
    return () => removeEventListener('keydown', pressed)
  }, [router])
}

/** @returns whether there is such an element. */
function focus(selector: string): boolean {
  const found = document.querySelector<HTMLElement>(selector)
  found?.focus()
  return found !== null
}

import type { ComponentProps, MouseEvent } from 'react'
import { usePage } from '../page-context.ts'
import type { Place } from '../state/place.ts'

type LinkProps = Omit<ComponentProps<'a'>, 'href' | 'onClick'> & { to: Partial<Place> }

/** A link to another place of the page: a real one, which can be opened in a new tab. */
export function Link({ to, ...rest }: LinkProps) {
  const { router } = usePage()
  const go = (event: MouseEvent): void => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    event.preventDefault()
    router.go(to)
  }
  return <a {...rest} href={router.href(to)} onClick={go} />
}

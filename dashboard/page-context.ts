import { createContext, useContext } from 'react'
import type { FleetState } from './state/fleet-feed.ts'
import type { Place } from './state/place.ts'
import type { Router } from './state/router.ts'
import type { Session } from './state/session.ts'
import type { ThemeChoice } from './state/theme.ts'
import { useStore } from './use-store.ts'

/** What every part of the page uses. */
export type PageContext = { readonly session: Session; readonly router: Router; readonly theme: ThemeChoice }

const Context = createContext<PageContext | undefined>(undefined)

export const PageProvider = Context.Provider

export function usePage(): PageContext {
  const page = useContext(Context)
  if (!page) throw new Error('this part stands outside of the page')
  return page
}

export function usePlace(): Place {
  return useStore(usePage().router)
}

export function useFleet(): FleetState {
  return useStore(usePage().session.feed.state)
}

import { type Place, placeOf, queryOf } from './place.ts'
import { createStore, type Store } from './store.ts'

/** Where the page is, and how it goes elsewhere. */
export interface Router extends Store<Place> {
  /** Goes to a place that differs in this. `replace`: going back does not come here again, as while a filter is typed. */
  go(to: Partial<Place>, how?: 'push' | 'replace'): void
  /** The address of a place that differs in this. */
  href(to: Partial<Place>): string
}

export function createRouter(page: Window): Router {
  const store = createStore(placeOf(page.location.search))
  page.addEventListener('popstate', () => store.set(placeOf(page.location.search)))
  const href = (to: Partial<Place>): string => page.location.pathname + queryOf({ ...store.get(), ...to })
  return {
    ...store,
    href,
    go(to, how = 'push') {
      const url = href(to)
      if (how === 'push') page.history.pushState(null, '', url)
      else page.history.replaceState(null, '', url)
      store.set(placeOf(page.location.search))
    },
  }
}

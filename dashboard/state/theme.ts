import { createStore, type Store } from './store.ts'

/** How the page looks. `auto`: as the system does. */
export type Theme = 'auto' | 'light' | 'dark'

const KEY = 'millrace.theme'
const NEXT: { readonly [theme in Theme]: Theme } = { auto: 'light', light: 'dark', dark: 'auto' }

/** The look of the page, which is kept for the next visit. */
export interface ThemeChoice extends Store<Theme> {
  /** Takes the next of the three. */
  readonly turn: () => void
}

export function createTheme(page: Window): ThemeChoice {
  const read = (): Theme => {
    try {
      const kept = page.localStorage.getItem(KEY)
      return kept === 'light' || kept === 'dark' ? kept : 'auto'
    } catch {
      return 'auto'
    }
  }
  const store = createStore<Theme>(read())
  const show = (theme: Theme): void => {
    page.document.documentElement.dataset['theme'] = theme
  }
  show(store.get())
  return {
    ...store,
    turn() {
      const theme = NEXT[store.get()]
      show(theme)
      try {
        page.localStorage.setItem(KEY, theme)
      } catch {
        // It lasts as long as the page.
      }
      store.set(theme)
    },
  }
}

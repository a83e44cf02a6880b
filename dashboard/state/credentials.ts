/** What of a page has to do with its token. */
export type CredentialsPage = {
  readonly location: { readonly hash: string; readonly pathname: string; readonly search: string }
  readonly history: { replaceState(data: unknown, unused: string, url: string): void }
  readonly sessionStorage: {
    getItem(key: string): string | null
    setItem(key: string, value: string): void
    removeItem(key: string): void
  }
}

const KEY = 'millrace.token'

/**
 * Takes the token out of the address, `#token=...`, so that it is in no history and on no screen. It is kept for this tab
 * only, and for a reload of it.
 * @returns the token of the address, or that of before the reload. Undefined: there is none.
 */
export function takeToken(page: CredentialsPage): string | undefined {
  const { location, history } = page
  const given = new URLSearchParams(location.hash.slice(1)).get('token')
  if (location.hash !== '') history.replaceState(null, '', location.pathname + location.search)
  if (given !== null && given !== '') keepToken(page, given)
  return given || stored(page)
}

/** Keeps a token for this tab. Undefined forgets it. */
export function keepToken(
  { sessionStorage }: Pick<CredentialsPage, 'sessionStorage'>,
  token: string | undefined,
): void {
  try {
    if (token === undefined) sessionStorage.removeItem(KEY)
    else sessionStorage.setItem(KEY, token)
  } catch {
    // A browser that stores nothing: the token lasts until the page is loaded again.
  }
}

function stored({ sessionStorage }: CredentialsPage): string | undefined {
  try {
    return sessionStorage.getItem(KEY) ?? undefined
  } catch {
    return undefined
  }
}

/** How long something may wait for a page that always has something to do, in milliseconds. */
const MOST_MS = 2_000

/** Does something when the page has nothing else to do. Not every browser tells: there it is done soon. */
export function whenIdle(act: () => void): void {
  if ('requestIdleCallback' in globalThis) requestIdleCallback(act, { timeout: MOST_MS })
  else setTimeout(act)
}

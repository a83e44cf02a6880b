/** Does something when the page has nothing else to do. Not every browser tells: there it is done soon. */
export function whenIdle(act: () => void): void {
  if ('requestIdleCallback' in globalThis) requestIdleCallback(act)
  else setTimeout(act)
}

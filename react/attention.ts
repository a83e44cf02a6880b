import { page } from './page.ts'

/**
 * Decides which pages of a browser read a run: those that are shown, and while there is none, those that are hidden. A
 * hidden page draws nothing and holds the run back, so it must not while the same run is shown elsewhere.
 *
 * Each page tells the others when it is shown or hidden. A page that is shown answers one that is hidden.
 *
 * @param changed Called with whether this page may read, as often as it is decided.
 * @returns A function that ends it: the page does not show the run any more.
 */
export function attend(run: string, changed: (mayRead: boolean) => void): () => void {
  const { document, BroadcastChannel } = page
  if (!document || !BroadcastChannel) return () => {}
  const channel = new BroadcastChannel(`millrace ${run}`)
  const tell = (): void => channel.postMessage(document.hidden)
  const turned = (): void => {
    if (!document.hidden) changed(true)
    tell()
  }
  channel.onmessage = ({ data: isOtherHidden }) => {
    if (document.hidden) changed(isOtherHidden === true)
    else if (isOtherHidden) tell()
  }
  document.addEventListener('visibilitychange', turned)
  tell()
  return () => {
    document.removeEventListener('visibilitychange', turned)
    channel.postMessage(true)
    channel.close()
  }
}

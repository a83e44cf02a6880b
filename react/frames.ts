import { page } from './page.ts'

/** Calls back once, at a time when a page may show something new. Returns a function that takes the call back. */
export type NextFrame = (callback: () => void) => () => void

/** Between two batches of a hidden page, in milliseconds. A browser may wait longer. */
const HIDDEN_MS = 1_000

/** Between two frames where nothing is drawn, in milliseconds. */
const UNDRAWN_MS = 16

const later =
  (ms: number): NextFrame =>
  (callback) => {
    const timer = setTimeout(callback, ms)
    return () => clearTimeout(timer)
  }

/** The next frame that the page draws. A hidden page draws none. */
export const drawnFrame: NextFrame = (callback) => {
  const request = page.requestAnimationFrame?.(callback)
  if (request === undefined) return later(UNDRAWN_MS)(callback)
  return () => page.cancelAnimationFrame?.(request)
}

/** The next frame, or a second later where none is drawn until then. */
export const orSecond =
  (drawn: NextFrame): NextFrame =>
  (callback) => {
    const both = [drawn, later(HIDDEN_MS)].map((next) =>
      next(() => {
        cancel()
        callback()
      }),
    )
    const cancel = (): void => {
      for (const takeBack of both) takeBack()
    }
    return cancel
  }

import type { NextFrame } from './frames.ts'
import { page } from './page.ts'

/** Resolves in a later turn of the event loop, when all promises that were resolved have been read. */
function laterTurn(): Promise<undefined> {
  return new Promise((resolve) => {
    const done = (): void => resolve(undefined)
    if (!page.MessageChannel) return void setTimeout(done)
    const { port1, port2 } = new page.MessageChannel()
    // A timer of a hidden page would be late.
    port1.onmessage = () => {
      port1.close()
      done()
    }
    port2.postMessage(0)
  })
}

/**
 * Reads a source as fast as a page is drawn: an event that is waited for comes at once, and those behind it with the
 * next frame, all that are there. What has come meanwhile waits in the source, so that the source waits for the page.
 */
export function paced<Event>(
  events: AsyncIterable<Event, unknown>,
  frame: NextFrame,
): AsyncIterableIterator<Event, undefined> {
  const source = events[Symbol.asyncIterator]()
  /** The next event, which is asked for. */
  let asked: Promise<IteratorResult<Event, unknown>> | undefined
  /** While it lasts, all events that are there are taken. */
  let batch: Promise<undefined> | undefined
  let mustWait = false
  let isOver = false
  /** Ends the wait for a frame. */
  let wake: (() => void) | undefined

  const drawn = (): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        wake = undefined
        resolve()
      }
      const takeBack = frame(done)
      wake = () => {
        takeBack()
        done()
      }
    })

  return {
    async next() {
      if (mustWait && !isOver) {
        await drawn()
        mustWait = false
        batch = laterTurn()
      }
      if (isOver) return { value: undefined, done: true }
      asked ??= source.next()
      let step = batch && (await Promise.race([asked, batch]))
      if (!step) {
        batch = undefined
        // The wait is for what comes next. It may be there already, and then it is the last before the next frame.
        step = await asked
        mustWait = true
      }
      asked = undefined
      return step.done ? { value: undefined, done: true } : step
    },

    async return() {
      isOver = true
      wake?.()
      await source.return?.()
      return { value: undefined, done: true }
    },

    [Symbol.asyncIterator]() {
      return this
    },
  }
}

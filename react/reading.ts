import { MillraceError, type Run, type RunEnd, type StreamEvent } from '../client-sdk/index.ts'

/** What reading a run reports, until it is left. */
export type ReadingCallbacks = {
  opened(id: string): void
  event(event: StreamEvent, run: Run): void
  /**
   * The run has ended, or this reading does not learn how (an error).
   * @param failure What its loop has thrown, if it has.
   */
  over(how: RunEnd | MillraceError, failure: unknown): void
}

/** A page reads a run: from the beginning of the loop over its events to the end of the run, or until it leaves. */
export interface Reading {
  readonly run: Run
  /** Reports nothing more. An event that was taken and not reported comes again where the page reads on. */
  ignore(): void
  /** The same, and detaches from the run. */
  leave(): void
}

/** @param events Those of `run`, through what the application reads them with. */
export function readRun(
  run: Run,
  events: AsyncIterableIterator<StreamEvent, undefined>,
  callbacks: ReadingCallbacks,
): Reading {
  let isLeft = false

  const read = async (): Promise<void> => {
    let failure: unknown
    try {
      for (;;) {
        const { value, done } = await events.next()
        if (isLeft) return
        if (done) break
        callbacks.event(value, run)
      }
    } catch (thrown) {
      failure = thrown
    }
    const how = await run.end.catch((thrown: unknown) => MillraceError.from(thrown))
    if (!isLeft) callbacks.over(how, failure)
  }

  void run.opened.then(
    ({ id }) => {
      if (!isLeft) callbacks.opened(id)
    },
    () => {},
  )
  void read()
  return {
    run,
    ignore() {
      isLeft = true
    },
    leave() {
      isLeft = true
      run.detach()
      void events.return?.()
    },
  }
}

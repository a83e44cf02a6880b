import type { Client, StreamEvent } from 'millrace/client'
import type { FleetRun } from './fleet.ts'
import { createStore, type Store } from './store.ts'

/** Items that are read of one run: what a log keeps, twice. */
export const MAX_EVENTS = 20_000
/** A piece of text has one time, however many items it is of. With little credit the pieces are small, and the times are exact. */
const CREDIT = 16
/** Characters of text that are kept of one run. */
const MAX_CHARACTERS = 4_000_000

/** The log of a run as far as it was read. The array grows; `count` tells how far. */
export type ReadLog = {
  readonly events: readonly StreamEvent[]
  readonly count: number
  /** `reading`: more may come. `whole`: the run has ended. `cut`: there is more than the page keeps. `failed`: see why. */
  readonly state: 'reading' | 'whole' | 'cut' | 'failed'
  readonly why: string | undefined
}

const NOTHING: ReadLog = { events: [], count: 0, state: 'reading', why: undefined }

/**
 * Reads the log of a run from its beginning, and goes on as it grows. It never holds the run back.
 * @param nextFrame resolves when the page draws: what has come until then is shown at once.
 */
export function readLog(
  client: Client,
  { id, actor }: Pick<FleetRun, 'id' | 'actor'>,
  nextFrame: () => Promise<unknown>,
): Store<ReadLog> & { readonly leave: () => void } {
  const store = createStore(NOTHING)
  const events: StreamEvent[] = []
  const run = client.attach(actor, id, { after: 'start', policy: 'log', credit: CREDIT })
  let isLeft = false
  let isDue = false
  const show = (state: ReadLog['state'], why?: string): void => {
    if (!isLeft) store.set({ events, count: events.length, state, why })
  }
  const showSoon = (): void => {
    if (isDue) return
    isDue = true
    void nextFrame().then(() => {
      isDue = false
      if (store.get().state === 'reading') show('reading')
    })
  }
  const read = async (): Promise<void> => {
    let characters = 0
    try {
      for await (const event of run) {
        events.push(event)
        if ('text' in event) characters += event.text.length
        if (events.length >= MAX_EVENTS || characters >= MAX_CHARACTERS) {
          show('cut')
          return
        }
        showSoon()
      }
    } catch {
      // The end says it.
    }
    const end = await run.end.catch((error: unknown) => error as Error)
    show(
      end instanceof Error || end.seq === 0 ? 'failed' : 'whole',
      end instanceof Error ? end.message : end.error?.message,
    )
  }
  void read()
  return {
    ...store,
    leave() {
      isLeft = true
      run.detach()
    },
  }
}

import { expect } from 'vitest'
import { type InspectedRun, InspectorState, type InspectorUpdate } from '../../protocol/inspector.ts'
import { matches } from './cddl.ts'
import type { TestServer } from './server.ts'
import type { WireClient, WireClientOptions } from './wire-client.ts'
import { exact } from './wire-schema.ts'

const DATA = 15

export type WatcherOptions = Pick<WireClientOptions, 'auth' | 'client'> & {
  input?: unknown
  credit?: number
}

/** A client that watches a server by its actor `inspector`, and the list that follows from the updates. */
export type Watcher = AsyncDisposable & {
  readonly client: WireClient
  /** The run of the inspector. */
  readonly id: string
  readonly state: InspectorState
  /** All updates so far, in order. */
  readonly updates: readonly InspectorUpdate[]
  /** Resolves when `holds` of the list; asked after each message. */
  until(holds: (state: InspectorState) => boolean, what: string): Promise<void>
  /** The run of that id, once `holds` of it. */
  run(id: string, holds?: (run: InspectedRun) => boolean): Promise<InspectedRun>
}

/** Starts to watch, and waits for the first list. */
export async function watching(
  served: Pick<TestServer<never>, 'client'>,
  { input = { everyMs: 100 }, credit = 1_900, ...who }: WatcherOptions = {},
): Promise<Watcher> {
  const client = await served.client(who)
  client.start(1, 'inspector', input, { credit })
  const { run: id } = await client.next('opened')
  const state = new InspectorState()
  const updates: InspectorUpdate[] = []
  let read = 0
  const take = (): void => {
    for (; read < client.frames.length; read++) {
      const frame = client.frames[read]
      if (frame?.kind !== 'event' || frame.sid !== 1 || frame.type !== DATA) continue
      const update = frame.data['value'] as InspectorUpdate
      expect(matches(exact, 'inspector-update', update), JSON.stringify(update)).toBe(true)
      updates.push(update)
      state.take(update)
    }
  }
  const until: Watcher['until'] = (holds, what) =>
    client.until(() => {
      take()
      return !state.isPartial && holds(state)
    }, what)
  await until(() => true, 'the first list')
  return {
    client,
    id,
    state,
    updates,
    until,
    async run(of, holds = () => true) {
      await until(({ runs }) => {
        const run = runs.get(of)
        return run !== undefined && holds(run)
      }, 'such a run')
      return state.runs.get(of)!
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  }
}

import { type ActorMap, type Client, type ListedRun, MillraceError } from '../client-sdk/index.ts'
import { createExternalStore, type ExternalStore } from './external-store.ts'

/** The runs of a principal, as `useRuns` returns them. */
export type RunList<Name extends string = string> = {
  /** All that the server knows, oldest first: those that go on, and those that have ended and are kept. */
  readonly runs: readonly ListedRun<Name>[]
  /** Whether the list has arrived. Until then it is empty. */
  readonly isLoaded: boolean
  /** Why the list cannot be read: such as `unsupported`, by a server that is too old. It is read again after a reconnect. */
  readonly error: MillraceError | undefined
}

const stores = new WeakMap<object, ExternalStore<RunList>>()

/** The list of the runs of this client's principal: one for all components, which take one stream of the connection. */
export function runListOf<Actors extends ActorMap>(
  client: Client<Actors>,
): ExternalStore<RunList<keyof Actors & string>> {
  const known = stores.get(client) ?? createRunListStore(client)
  stores.set(client, known)
  return known
}

function createRunListStore(client: Client): ExternalStore<RunList> {
  let list: AsyncIterableIterator<readonly ListedRun[], undefined> | undefined

  const read = async (): Promise<void> => {
    const mine = client.runs({ watch: true })
    list = mine
    try {
      for await (const runs of mine) if (list === mine) store.set({ runs, isLoaded: true, error: undefined })
    } catch (error) {
      if (list !== mine) return
      list = undefined
      store.set({ ...store.getSnapshot(), error: MillraceError.from(error) })
    }
  }

  const store = createExternalStore<RunList>({ runs: [], isLoaded: false, error: undefined }, () => {
    void read()
    // After a refusal, such as that of a token that has expired, the application connects again.
    const ignore = client.onStatus((status) => {
      if (status === 'open' && !list) void read()
    })
    return () => {
      ignore()
      const left = list
      list = undefined
      void left?.return?.()
    }
  })
  return store
}

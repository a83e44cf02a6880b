import * as React from 'react'
import type { ActorMap, Client, MillraceError, Status } from '../client-sdk/index.ts'
import { createExternalStore, type ExternalStore } from './external-store.ts'
import { useKept } from './use-kept.ts'

/** The connection of a client, as `useConnection` returns it. */
export type ConnectionState = {
  /** The state of the connection. */
  readonly status: Status
  /** Why it is `lost` or `closed`. */
  readonly error: MillraceError | undefined
}

/**
 * Follows the connection of a client: `lost` while it tries to come back, `closed` when only `client.connect()` helps,
 * for example after a new login. It opens no connection.
 *
 * @param client One client for the page.
 */
export function useConnection<Actors extends ActorMap>(client: Client<Actors>): ConnectionState {
  const store = useKept(() => connectionStore(client), [client])
  return React.useSyncExternalStore(store.subscribe, store.getSnapshot, () => store.initial)
}

function connectionStore({ status, onStatus }: Pick<Client, 'status' | 'onStatus'>): ExternalStore<ConnectionState> {
  const store = createExternalStore<ConnectionState>({ status, error: undefined }, () =>
    onStatus((now, error) => {
      const before = store.getSnapshot()
      if (before.status !== now || before.error !== error) store.set({ status: now, error })
    }),
  )
  return store
}

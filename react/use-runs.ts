import * as React from 'react'
import type { ActorMap, Client } from '../client-sdk/index.ts'
import { type RunList, runListOf } from './run-list-store.ts'

/**
 * Watches the list of the runs of this client's principal: the same as `client.runs({ watch: true })`. All components of
 * a page share one watch. To show a run of it, pass its `id` to `useRun`.
 *
 * @param client One client for the page.
 */
export function useRuns<Actors extends ActorMap>(client: Client<Actors>): RunList<keyof Actors & string> {
  const store = runListOf(client)
  return React.useSyncExternalStore(store.subscribe, store.getSnapshot, () => store.initial)
}

import { useSyncExternalStore } from 'react'
import type { Store } from './state/store.ts'

/** The present value of a store: the component is rendered again when it changes. */
export function useStore<Value>({ subscribe, get }: Store<Value>): Value {
  return useSyncExternalStore(subscribe, get)
}

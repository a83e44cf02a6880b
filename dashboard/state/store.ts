/** What `useSyncExternalStore` reads. */
export interface Store<Value> {
  /** Calls back after each change, until the returned function is called. */
  readonly subscribe: (listener: () => void) => () => void
  /** The present value: the same object until it changes. */
  readonly get: () => Value
}

/** A value that changes, and tells. */
export function createStore<Value>(initial: Value): Store<Value> & { readonly set: (next: Value) => void } {
  const listeners = new Set<() => void>()
  let value = initial
  return {
    get: () => value,
    set(next) {
      if (Object.is(value, next)) return
      value = next
      for (const listener of [...listeners]) listener()
    },
    subscribe(listener) {
      const mine = (): void => listener()
      listeners.add(mine)
      return () => void listeners.delete(mine)
    },
  }
}

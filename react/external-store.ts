/** What `useSyncExternalStore` reads. */
export interface ExternalStore<Snapshot> {
  /** Calls back after each change. Returns a function that ends it. */
  readonly subscribe: (listener: () => void) => () => void
  /** The present state. The same object until something changes. */
  readonly getSnapshot: () => Snapshot
  /** The state before anything is known: what a server renders, and a page while it takes that over. */
  readonly initial: Snapshot
}

/**
 * A store that works while something subscribes to it. `StrictMode` unsubscribes and subscribes again at once: that does
 * not count as leaving.
 * @param initial The state before anything is known.
 * @param enter Begins to work. It returns the function that stops it.
 */
export function createExternalStore<Snapshot>(
  initial: Snapshot,
  enter: () => () => void,
): ExternalStore<Snapshot> & { set(snapshot: Snapshot): void } {
  const listeners = new Set<() => void>()
  let snapshot = initial
  let leave: (() => void) | undefined
  return {
    initial,
    getSnapshot: () => snapshot,

    set(next) {
      snapshot = next
      for (const listener of [...listeners]) listener()
    },

    subscribe(listener) {
      // Two components may pass the same function.
      const mine = (): void => listener()
      listeners.add(mine)
      leave ??= enter()
      return () => {
        listeners.delete(mine)
        queueMicrotask(() => {
          if (listeners.size > 0) return
          leave?.()
          leave = undefined
        })
      }
    },
  }
}

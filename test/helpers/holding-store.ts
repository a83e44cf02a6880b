import type { Lease, RunStore } from '../../server/stores/run-store.ts'
import { type Latch, latch } from './test-actors.ts'

/** A store that does not get on, as long as a test wants. */
export type HoldingStore = RunStore & {
  /** From now on, nothing is appended. */
  holdAppends(): void
  /** From now on, runs begin, and nobody is told. Call what this returns to tell it. */
  holdBegins(): () => void
}

export function holding(store: RunStore): HoldingStore {
  let appends: Promise<void> | undefined
  let begins: Latch | undefined
  const lease = (inner: Lease): Lease => ({
    gen: inner.gen,
    append: async (what) => {
      await appends
      return inner.append(what)
    },
    release: () => inner.release(),
  })
  return {
    caps: store.caps,
    holdAppends() {
      appends = new Promise(() => {})
    },
    holdBegins() {
      begins = latch()
      return begins.open
    },
    open: () => store.open(),
    close: () => store.close(),
    async begin(id, run) {
      const begun = await store.begin(id, run)
      await begins?.opened
      return 'run' in begun ? begun : lease(begun)
    },
    async takeOver(id) {
      const taken = await store.takeOver(id)
      return typeof taken === 'string' ? taken : { ...taken, lease: lease(taken.lease) }
    },
    abandoned: (most) => store.abandoned(most),
    find: (id) => store.find(id),
    findKey: (name) => store.findKey(name),
    list: (principal, before, most) => store.list(principal, before, most),
    read: (id, from, maxBytes) => store.read(id, from, maxBytes),
    remove: (id) => store.remove(id),
    removeAll: (principal) => store.removeAll(principal),
  }
}

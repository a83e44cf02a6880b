import { MillraceError } from '../../protocol/errors.ts'
import type { Lease, Outbox, RunStore } from '../../server/stores/run-store.ts'

/** One process's access to a store, which can die like the process. */
export type MortalStore = RunStore & {
  /** From now on, nothing that this process asked is answered, and nothing more gets through. */
  kill(): void
  isAlive(this: void): boolean
  /** From now on, no list can be read. */
  fail(): void
}

/** The access of one process to a store that outlives it. */
export function mortal(store: RunStore): MortalStore {
  let isDead = false
  let isFailing = false
  const never = new Promise<never>(() => {})
  const live = <T>(call: () => Promise<T>): Promise<T> =>
    isDead ? never : call().then((value) => (isDead ? never : value))
  const lease = (inner: Lease): Lease => ({
    gen: inner.gen,
    append: (what) => live(() => inner.append(what)),
    release: () => live(() => inner.release()),
  })
  return {
    caps: store.caps,
    ...(store.outbox && { outbox: mortalOutbox(store.outbox, live) }),
    kill() {
      isDead = true
    },
    isAlive: () => !isDead,
    fail() {
      isFailing = true
    },
    open: () => live(() => store.open()),
    close: () => Promise.resolve(),
    begin: (id, run) => live(() => store.begin(id, run)).then((begun) => ('run' in begun ? begun : lease(begun))),
    takeOver: (id) =>
      live(() => store.takeOver(id)).then((taken) =>
        typeof taken === 'string' ? taken : { ...taken, lease: lease(taken.lease) },
      ),
    abandoned: (most) => live(() => store.abandoned(most)),
    find: (id) => live(() => store.find(id)),
    findKey: (name) => live(() => store.findKey(name)),
    list: (principal, before, most) =>
      isFailing
        ? Promise.reject(new MillraceError('store_unavailable', 'the store fails'))
        : live(() => store.list(principal, before, most)),
    read: (id, from, maxBytes) => live(() => store.read(id, from, maxBytes)),
    remove: (id) => live(() => store.remove(id)),
    removeAll: (principal) => live(() => store.removeAll(principal)),
  }
}

function mortalOutbox(outbox: Outbox, live: <T>(call: () => Promise<T>) => Promise<T>): Outbox {
  return {
    add: (notices) => live(() => outbox.add(notices)),
    take: (most, forMs) => live(() => outbox.take(most, forMs)),
    remove: (id) => live(() => outbox.remove(id)),
    putOff: (id, ms) => live(() => outbox.putOff(id, ms)),
    trim: (most) => live(() => outbox.trim(most)),
  }
}

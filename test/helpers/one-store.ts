import type { Actor, ServerOptions } from '../../server/index.ts'
import { memoryStore } from '../../server/stores/memory-store.ts'
import type { StoredRun } from '../../server/stores/run-store.ts'
import { mortal } from './mortal-store.ts'
import { PATIENCE_MS } from './patience.ts'
import { type TestServer, testServer } from './server.ts'

/** Servers, one after the other, that have one store. */
export function onOneStore<const Actors extends Record<string, Actor>>(actors: Actors) {
  const kept = memoryStore()
  return {
    kept,
    /** Waits until the store has of a run what `holds` says. */
    async stored(run: string, holds: (stored: StoredRun) => boolean): Promise<void> {
      let stored: StoredRun | undefined
      const looks = async (): Promise<void> => {
        stored = await kept.find(run)
      }
      const end = performance.now() + PATIENCE_MS
      while (!stored || !holds(stored)) {
        if (performance.now() > end) throw new Error(`the store never had that: ${JSON.stringify(stored)}`)
        await new Promise((resolve) => setImmediate(resolve))
        await looks()
      }
    },
    /** A server whose process can die. */
    async begin(
      options: Partial<ServerOptions<Actors>> = {},
    ): Promise<TestServer<Actors> & { kill(): void; fail(): void }> {
      const store = mortal(kept)
      const served = await testServer<Actors>(actors, { store, ...options })
      return Object.assign(served, { kill: () => store.kill(), fail: () => store.fail() })
    },
  }
}

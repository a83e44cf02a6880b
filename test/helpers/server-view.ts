import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import type { Runtime } from '../../protocol/runtime.ts'
import type { ServerView } from '../../server/actors/server-view.ts'
import { demo } from '../../server/index.ts'

/** What an actor sees of a server without sessions, of which nothing is real but `more`. Everybody may see everything. */
export function serverView(runtime: Runtime, more: Partial<ServerView>): ServerView {
  return {
    runtime,
    limits: DEFAULT_LIMITS,
    leaving: false,
    findModel: () => demo(),
    permits: () => true,
    runs: () => [],
    run: () => undefined,
    forget() {},
    removeStored: () => Promise.resolve(),
    sessions: () => [],
    ...more,
  }
}

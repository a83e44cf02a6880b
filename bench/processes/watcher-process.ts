/** The process of the clients that watch a server through its inspector. */
import { createClient, InspectorState, type InspectorUpdate } from 'millrace/client'
import { until } from '../stage/clock.ts'
import { answerCommands } from '../stage/commands.ts'

export type WatcherProcessOptions = { port: number }

const { port } = JSON.parse(process.argv[2]!) as WatcherProcessOptions

type Watcher = { state: InspectorState; updates: number; fault: unknown; stop(): Promise<unknown> }

let watchers: Watcher[] = []

/** Each on a connection of its own. */
function watch(n: number, everyMs: number): Watcher {
  const client = createClient(`ws://127.0.0.1:${port}`, { token: `watcher-${n}` })
  const run = client.start('inspector', { everyMs })
  const watcher: Watcher = { state: new InspectorState(), updates: 0, fault: undefined, stop: () => client.close() }
  void (async () => {
    for await (const event of run) {
      if (event.type !== 'data') continue
      watcher.updates++
      watcher.state.take(event.value as InspectorUpdate)
    }
  })().catch((error: unknown) => (watcher.fault = error))
  return watcher
}

const commands = {
  /** Resolves when each of so many watchers knows of so many runs. */
  async watch({ count, everyMs, runs }: { count: number; everyMs: number; runs: number }): Promise<void> {
    watchers = Array.from({ length: count }, (_, n) => watch(n, everyMs))
    const know = (): boolean => watchers.every(({ state, fault }) => fault !== undefined || state.runs.size >= runs)
    await until(know, 10_000, `the list of ${runs} runs`)
    for (const { fault } of watchers) if (fault !== undefined) throw new Error('a watcher failed', { cause: fault })
  },

  /** Updates that came to all of them so far. */
  updates: (): number => watchers.reduce((sum, { updates }) => sum + updates, 0),

  async unwatch(): Promise<void> {
    await Promise.all(watchers.splice(0).map((watcher) => watcher.stop()))
  },
}

export type WatcherCommands = typeof commands

answerCommands(commands)

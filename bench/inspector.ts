import type { WatcherCommands, WatcherProcessOptions } from './processes/watcher-process.ts'
import type { BenchQuestion } from './question.ts'
import { pass } from './stage/clock.ts'
import { coresToPin } from './stage/machine.ts'
import { PinnedProcess } from './stage/pinned-process.ts'
import { failureNotes, figuresOf, interleaved, recorded } from './stage/rounds.ts'
import { figure, median, ratios, spread } from './stage/statistics.ts'

const PER_SEC = 20
const CONNECTIONS = 20
const ENDLESS = 1_000_000_000
/** Time for short runs to begin and end. */
const SETTLE_MS = 700

const WATCHERS = {
  nobody: { count: 0, everyMs: 500 },
  'one watcher': { count: 1, everyMs: 500 },
  'ten watchers': { count: 10, everyMs: 500 },
  'ten, ten times a second': { count: 10, everyMs: 100 },
} as const
type Watched = keyof typeof WATCHERS
const NAMES = Object.keys(WATCHERS) as Watched[]

type Sample = { cpuUsPerToken: number; cores: number; updatesPerSec: number }

/** What does it cost a server to be watched through its inspector? */
export const inspector: BenchQuestion = {
  name: 'inspector',
  async ask({ stage, counts, say }) {
    const { rounds, windowMs, perConnection } = counts({
      full: { rounds: 15, windowMs: 2_000, perConnection: 15 },
      quick: { rounds: 1, windowMs: 600, perConnection: 15 },
      smoke: { rounds: 1, windowMs: 100, perConnection: 1 },
    })
    const runs = CONNECTIONS * perConnection
    const { server, client, port } = await stage.pair('millrace, ws')
    const cores = coresToPin()
    const options: WatcherProcessOptions = { port }
    await using watchers = new PinnedProcess<WatcherCommands>('watcher-process.js', cores?.[1], options, 'watchers')

    await client.ask('connect', CONNECTIONS)
    const request = { id: 'watched', pace: { type: 'paced', perSec: PER_SEC }, tokens: ENDLESS, gated: true } as const
    await client.ask('read', { perConnection, request })
    await server.ask('gathered', runs)
    await server.ask('open')
    const result = await interleaved<Watched, Sample>(
      NAMES,
      rounds,
      async (name) => {
        await watchers.ask('watch', { ...WATCHERS[name], runs })
        await pass(SETTLE_MS)
        await client.ask('latencies')
        const before = await watchers.ask('updates')
        await server.ask('begin')
        await pass(windowMs)
        const { cpuUs, us, produced } = await server.ask('spent')
        const updates = (await watchers.ask('updates')) - before
        await watchers.ask('unwatch')
        return { cpuUsPerToken: cpuUs / produced, cores: cpuUs / us, updatesPerSec: (updates / us) * 1e6 }
      },
      say,
    )
    await server.ask('endAll')
    await client.ask('finished')

    const cpu = (name: Watched): number[] => figuresOf(result, name, (one) => one.cpuUsPerToken)
    const x = (name: Watched): string => spread(ratios(cpu(name), cpu('nobody')))
    return {
      tables: [
        {
          title: `Watched: ${runs} streams of ${PER_SEC} tokens/s, looked at twice a second or more often`,
          columns: ['', 'server CPU', 'us per token', 'x nobody', 'updates/s'],
          rows: NAMES.map((name) => [
            name,
            `${figure(100 * median(figuresOf(result, name, (one) => one.cores)))} %`,
            figure(median(cpu(name))),
            x(name),
            figure(median(figuresOf(result, name, (one) => one.updatesPerSec))),
          ]),
          notes: [
            `${rounds} rounds of ${windowMs / 1_000} s each. Each watcher is a client of its own and gets an update of every run.`,
            ...failureNotes(result),
          ],
        },
      ],
      summary: [
        {
          goal: `CPU of the server, ${runs} streams at ${PER_SEC}/s watched by ten, <= 1.1x unwatched`,
          ws: x('ten watchers'),
          uws: '-',
          others: '-',
        },
      ],
      failures: failureNotes(result),
      figures: recorded(result),
    }
  },
}

import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HAS_REDIS, RedisServer } from '../test/helpers/redis-server.ts'
import type { BenchQuestion } from './question.ts'
import { failureNotes, figuresOf, interleaved, recorded } from './stage/rounds.ts'
import type { ServerProcess } from './stage/stage.ts'
import { figure, median, percentile, ratios, spread } from './stage/statistics.ts'
import { measureWindow } from './stage/window.ts'

const PER_SEC = 50
const PER_CONNECTION = 20
const PEER = 'millrace, ws'
const BASE = 'no store'
/** The option `durability` of each. */
const OF_FILE = { 'SQLite, eager': 'eager', 'SQLite, logged': 'logged' } as const
const OF_REDIS = { 'Redis, eager': 'eager', 'Redis, logged': 'logged' } as const

type Name = typeof BASE | keyof typeof OF_FILE | keyof typeof OF_REDIS
type Sample = {
  usPerToken: number
  mainUsPerToken: number
  cores: number
  lagMs: number
  p50: number
  p99: number
  /** What its file grew by. Not a number where it has none. */
  bytesPerToken: number
}

/** What does it cost a server to keep what its runs say, and how much later does a client get it? */
export const stores: BenchQuestion = {
  name: 'stores',
  async ask({ stage, counts, say }) {
    const { rounds, settleMs, windowMs, connections } = counts({
      full: { rounds: 5, settleMs: 2_000, windowMs: 4_000, connections: 50 },
      quick: { rounds: 1, settleMs: 2_000, windowMs: 3_000, connections: 50 },
      smoke: { rounds: 1, settleMs: 100, windowMs: 100, connections: 2 },
    })
    const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'))
    await using redis = HAS_REDIS ? await RedisServer.start('--appendonly', 'no') : undefined
    const paths = new Map<Name, string>()
    const servers = new Map<Name, ServerProcess>([[BASE, stage.server(PEER, { lag: true }, 'any')]])
    for (const [name, durability] of Object.entries(OF_FILE) as [keyof typeof OF_FILE, 'eager' | 'logged'][]) {
      paths.set(name, join(folder, `${durability}.db`))
      servers.set(name, stage.server(PEER, { lag: true, store: { path: paths.get(name)!, durability } }, 'any'))
    }
    if (redis) {
      for (const [name, durability] of Object.entries(OF_REDIS) as [keyof typeof OF_REDIS, 'eager' | 'logged'][])
        servers.set(
          name,
          stage.server(PEER, { lag: true, store: { url: redis.url, prefix: durability, durability } }, 'any'),
        )
    }
    try {
      const pairs = new Map(
        await Promise.all(
          [...servers].map(async ([name, server]) => {
            const client = stage.client(PEER, await server.ask('listening'))
            await client.ask('connect', connections)
            return [name, { server, client }] as const
          }),
        ),
      )
      const bytesOf = (name: Name): number => {
        const path = paths.get(name)
        if (path === undefined) return Number.NaN
        return [path, `${path}-wal`].reduce(
          (sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0),
          0,
        )
      }
      const pace = { type: 'paced', perSec: PER_SEC } as const
      const result = await interleaved<Name, Sample>(
        [...pairs.keys()],
        rounds,
        async (name) => {
          const bytesBefore = bytesOf(name)
          const streams = { connections, perConnection: PER_CONNECTION, request: { id: 'stored', pace } }
          const { spent, latencies, made } = await measureWindow(pairs.get(name)!, streams, { settleMs, windowMs })
          const { cpuUs, mainUs, lagMs, us, produced } = spent
          return {
            usPerToken: cpuUs / produced,
            mainUsPerToken: mainUs / produced,
            cores: cpuUs / us,
            lagMs,
            p50: percentile(latencies, 0.5) / 1_000,
            p99: percentile(latencies, 0.99) / 1_000,
            bytesPerToken: (bytesOf(name) - bytesBefore) / made,
          }
        },
        say,
      )
      const of = (name: Name, what: (sample: Sample) => number): number[] => figuresOf(result, name, what)
      const against = (name: Name, what: (sample: Sample) => number): number[] => ratios(of(name, what), of(BASE, what))
      const addedMs = (name: Name, what: (sample: Sample) => number): number => {
        const base = of(BASE, what)
        return median(of(name, what).map((value, round) => value - (base[round] ?? Number.NaN)))
      }
      const one = (name: Name, what: (sample: Sample) => number): string => figure(median(of(name, what)))
      return {
        tables: [
          {
            title: `Stores: ${connections} connections x ${PER_CONNECTION} streams x ${PER_SEC} tokens/s`,
            columns: [
              ...['', 'process CPU', `x ${BASE}`, 'main thread us per token', `x ${BASE} `, 'lag p99 ms'],
              ...['p50 ms', 'p99 ms', 'added p50', 'file B per token'],
            ],
            rows: [...pairs.keys()].map((name) => [
              name,
              `${figure(100 * median(of(name, (sample) => sample.cores)))} %`,
              spread(against(name, (sample) => sample.usPerToken)),
              one(name, (sample) => sample.mainUsPerToken),
              spread(against(name, (sample) => sample.mainUsPerToken)),
              one(name, (sample) => sample.lagMs),
              one(name, (sample) => sample.p50),
              one(name, (sample) => sample.p99),
              figure(addedMs(name, (sample) => sample.p50)),
              one(name, (sample) => sample.bytesPerToken),
            ]),
            notes: [
              'The main thread is known on Linux only. The server may use both cores; the clients have the second one.',
              'The lag is how late the event loop is at a timer of 5 ms.',
              ...(redis ? [] : ['redis-server is missing: it was not measured.']),
              ...failureNotes(result),
            ],
          },
        ],
        summary: [],
        goals: [
          goal(
            'stores: main thread with SQLite, eager, against none',
            'x',
            1.25,
            median(against('SQLite, eager', main)),
          ),
          goal('stores: process with SQLite, eager, against none', 'x', 1.6, median(against('SQLite, eager', all))),
          goal('stores: lag p99 with SQLite, eager', 'ms', 20, median(of('SQLite, eager', (sample) => sample.lagMs))),
          goal(
            'stores: added p50 with SQLite, logged',
            'ms',
            25,
            addedMs('SQLite, logged', (sample) => sample.p50),
          ),
        ],
        failures: failureNotes(result),
        figures: recorded(result),
      }
    } finally {
      await stage[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    }
  },
}

const main = (sample: Sample): number => sample.mainUsPerToken
const all = (sample: Sample): number => sample.usPerToken

function goal(name: string, unit: 'x' | 'ms', atMost: number, ws: number) {
  return { name, unit, atMost, ws, uws: Number.NaN }
}

import { HAS_REDIS, RedisServer } from '../test/helpers/redis-server.ts'
import type { BenchQuestion } from './question.ts'
import { pass } from './stage/clock.ts'
import { figure, growth } from './stage/statistics.ts'

const ENDLESS = 1_000_000_000
const PEER = 'millrace, ws'
const PER_SEC = 100
const PER_CONNECTION = 20
const LOOK_MS = 50
/** How long the streams may take to go on. */
const MOST_MS = 15_000

/** What does a Redis cost a server that stands still under its streams, and do they go on afterwards? */
export const frozenRedis: BenchQuestion = {
  name: 'frozen-redis',
  async ask({ stage, counts, say }) {
    const { connections, settleMs, frozenMs } = counts({
      full: { connections: 5, settleMs: 20_000, frozenMs: 10_000 },
      quick: { connections: 5, settleMs: 5_000, frozenMs: 3_000 },
      smoke: { connections: 1, settleMs: 100, frozenMs: 200 },
    })
    if (!HAS_REDIS) {
      const failures = ['redis-server is missing: nothing was measured']
      return { tables: [], summary: [], failures, figures: undefined }
    }
    await using redis = await RedisServer.start('--appendonly', 'no')
    const store = { url: redis.url, prefix: 'bench', durability: 'eager' } as const
    const { server, client, port } = await stage.pair(PEER, { store })
    const other = stage.client(PEER, port)
    await other.ask('connect', 1)
    await client.ask('connect', connections)
    const streams = connections * PER_CONNECTION
    const request = { pace: { type: 'paced' as const, perSec: PER_SEC }, tokens: ENDLESS }
    say('streams')
    await client.ask('read', { perConnection: PER_CONNECTION, request: { id: 'frozen', ...request } })
    await pass(settleMs)

    say('frozen')
    const [before, madeBefore] = [server.rss, await server.ask('totalProduced')]
    redis.freeze(true)
    const from = performance.now()
    const refused = other.ask('refused', { id: 'refused', ...request })
    let peak = before
    while (performance.now() - from < frozenMs) {
      await pass(LOOK_MS)
      peak = Math.max(peak, server.rss)
    }
    const made = (await server.ask('totalProduced')) - madeBefore
    const gaveUpMs = await refused
    redis.freeze(false)

    say('afterwards')
    const thawed = performance.now()
    const then = (await server.ask('totalProduced')) + streams
    const goOn = async (): Promise<boolean> => (await server.ask('totalProduced')) >= then
    while (!(await goOn()) && performance.now() - thawed < MOST_MS) await pass(LOOK_MS)
    const goesOnMs = performance.now() - thawed
    await pass(settleMs / 4)
    const isGoingOn = await goOn()
    await server.ask('endAll')
    const { tokens } = await client.ask('finished')
    const last = await server.ask('totalProduced')
    if (tokens !== last) throw new Error(`${tokens} of ${last} tokens arrived`)

    return {
      tables: [
        {
          title: `A Redis that stands still for ${frozenMs / 1_000} s, under ${streams} streams x ${PER_SEC} tokens/s`,
          columns: [
            'RSS of the server',
            'made meanwhile',
            'a start gives up after',
            'all go on after',
            'tokens, each once',
          ],
          rows: [
            [
              growth(peak - before),
              figure(made),
              `${figure(gaveUpMs)} ms`,
              `${figure(goesOnMs)} ms`,
              `${tokens} of ${last}`,
            ],
          ],
        },
      ],
      summary: [],
      goals: [
        goal('frozen-redis: memory', 'kB', 32_768, (peak - before) / 1_024),
        goal('frozen-redis: a start gives up', 'ms', 1_200, gaveUpMs),
      ],
      failures: isGoingOn ? [] : ['the streams did not go on'],
      figures: { rss: peak - before, made, gaveUpMs, goesOnMs, tokens },
    }
  },
}

function goal(name: string, unit: 'kB' | 'ms', atMost: number, ws: number) {
  return { name, unit, atMost, ws, uws: Number.NaN }
}

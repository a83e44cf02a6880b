import { HAS_REDIS, RedisServer } from '../test/helpers/redis-server.ts'
import type { BenchQuestion } from './question.ts'
import { pass } from './stage/clock.ts'
import { figure, percentile } from './stage/statistics.ts'

const ENDLESS = 1_000_000_000
const PEER = 'millrace, ws'
const PER_SEC = 50
const PER_PRINCIPAL = 20
/** What an unread run is granted, and what its actor may be ahead of that: `readAhead`. */
const CREDIT = 32

/** How far behind is a client of one server that reads, cancels and slows down a run of another? */
export const nodes: BenchQuestion = {
  name: 'nodes',
  async ask({ stage, counts, say }) {
    const { loads, settleMs, windowMs, cancels } = counts({
      full: { loads: [300, 1_000], settleMs: 3_000, windowMs: 10_000, cancels: 300 },
      quick: { loads: [300], settleMs: 2_000, windowMs: 3_000, cancels: 50 },
      smoke: { loads: [20], settleMs: 100, windowMs: 200, cancels: 2 },
    })
    if (!HAS_REDIS) {
      const failures = ['redis-server is missing: nothing was measured']
      return { tables: [], summary: [], failures, figures: undefined }
    }
    await using redis = await RedisServer.start('--appendonly', 'no')
    const store = { url: redis.url, prefix: 'bench', durability: 'eager' } as const
    const [holder, other] = [stage.server(PEER, { store }, 'any'), stage.server(PEER, { store }, 'any')]
    const [startsAt, readsAt] = await Promise.all([holder.ask('listening'), other.ask('listening')])

    const behind = new Map<number, { ms: number[]; perSec: number; cpu: number[] }>()
    for (const streams of loads) {
      say(`${streams} streams`)
      const client = stage.away({ startsAt, readsAt })
      await client.ask('connect', streams / PER_PRINCIPAL)
      const made = await holder.ask('totalProduced')
      const request = { id: `load-${streams}`, pace: { type: 'paced' as const, perSec: PER_SEC }, tokens: ENDLESS }
      await client.ask('read', { perPair: PER_PRINCIPAL, request: { ...request, gated: true } })
      await holder.ask('open')
      await pass(settleMs)
      await client.ask('latencies')
      for (const server of [holder, other]) await server.ask('begin')
      await pass(windowMs)
      const ms = (await client.ask('latencies')).map((us) => us / 1_000)
      const spent = await Promise.all([holder, other].map((server) => server.ask('spent')))
      await holder.ask('endAll')
      const came = await client.ask('finished')
      const all = (await holder.ask('totalProduced')) - made
      if (came !== all) throw new Error(`${came} of ${all} tokens arrived`)
      const cpu = spent.map(({ cpuUs, us }) => (100 * cpuUs) / us)
      behind.set(streams, { ms, perSec: (ms.length * 1_000) / windowMs, cpu })
      await client[Symbol.asyncDispose]()
    }

    say('cancels')
    const client = stage.away({ startsAt, readsAt })
    await client.ask('connect', 1)
    const waiting = { pace: { type: 'waiting' as const, ms: 20 }, tokens: ENDLESS }
    await client.ask('cancels', { count: cancels, request: { id: 'warm', ...waiting } })
    const cancelled = await client.ask('cancels', { count: cancels, request: { id: 'cancel', ...waiting } })
    const stops: (number | null | undefined)[] = await holder.ask(
      'stopped',
      cancelled.map(({ id }) => id),
    )
    const stopMs = cancelled.map(({ at }, n) => ((stops[n] ?? Number.NaN) - at) / 1_000)

    say('a run that is not read')
    const unread = { id: 'unread', pace: { type: 'full' as const }, tokens: ENDLESS }
    await client.ask('leaveUnread', { request: unread, credit: CREDIT })
    let made = -1
    for (let now = 0; now !== made; ) {
      made = now
      await pass(500)
      now = await holder.ask('produced', unread.id)
    }

    const p = (ms: readonly number[], share: number): number => percentile([...ms], share)
    const failures = stopMs.some(Number.isNaN) ? ['a run that was cancelled was not stopped'] : []
    return {
      tables: [
        {
          title: `Two servers and a Redis: runs of ${PER_SEC} tokens/s, read at the server that does not have them`,
          columns: ['streams', 'tokens/s', 'p50 ms', 'p99 ms', 'most ms', 'CPU of their server', 'CPU of the other'],
          rows: [...behind].map(([streams, { ms, perSec, cpu }]) => [
            `${streams}`,
            figure(perSec),
            figure(p(ms, 0.5)),
            figure(p(ms, 0.99)),
            figure(p(ms, 1)),
            ...cpu.map((share) => `${figure(share)} %`),
          ]),
          notes: [
            'The time is from where a token is made to the loop that reads it. 40 ms of it are `flushMs` at most.',
          ],
        },
        {
          title: 'Two servers and a Redis: what travels the other way',
          columns: ['', 'p50', 'p99'],
          rows: [
            [
              'cancel at one server, to the signal of the actor at the other, ms',
              figure(p(stopMs, 0.5)),
              figure(p(stopMs, 0.99)),
            ],
            [`items that an actor made for a reader with a credit of ${CREDIT} that reads none`, `${made}`, ''],
          ],
        },
      ],
      summary: [],
      goals: [
        goal(`nodes: ${loads[0]} streams read elsewhere, p99`, 60, p(behind.get(loads[0]!)?.ms ?? [], 0.99)),
        goal('nodes: cancel elsewhere, p50', 10, p(stopMs, 0.5)),
      ],
      failures,
      figures: { behind: Object.fromEntries(behind), stopMs, made },
    }
  },
}

function goal(name: string, atMost: number, ws: number) {
  return { name, unit: 'ms' as const, atMost, ws, uws: Number.NaN }
}

import { BASE, OURS, type PeerName } from './peers/peers.ts'
import type { Bench, BenchQuestion } from './question.ts'
import { pass } from './stage/clock.ts'
import type { Curve } from './stage/curves.ts'
import { mostOpenFiles } from './stage/machine.ts'
import { figure, percentile } from './stage/statistics.ts'

const PER_SEC = 50
const ENDLESS = 1_000_000_000
const SPARE_FILES = 200
/** Until streams are in step and code is compiled. */
const SETTLE_MS = 700
/** Connections that load what the first ones load. */
const FIRST = 50

const PEERS: readonly PeerName[] = [...OURS, BASE]
/** So that a thousand streams fit on one connection. */
const ROOMY = { maxStreams: 1_000, maxRuns: 2_000 }

type Layout = 'one connection' | 'a connection each'
const LAYOUTS: readonly Layout[] = ['one connection', 'a connection each']

/** Does the cost of a token, a session and a resume stay the same when there are more of them? */
export const growth: BenchQuestion = {
  name: 'growth',
  async ask(bench) {
    const { streams, windowMs, idle, items } = bench.counts<{
      streams: readonly number[]
      windowMs: number
      idle: readonly number[]
      items: readonly number[]
    }>({
      full: { streams: [1, 10, 100, 1_000], windowMs: 3_000, idle: [10, 1_000, 10_000], items: [10, 10_000] },
      quick: { streams: [10, 1_000], windowMs: 600, idle: [1_000], items: [10, 1_000] },
      smoke: { streams: [1, 2], windowMs: 100, idle: [2], items: [10] },
    })
    const most = mostOpenFiles() - SPARE_FILES - FIRST
    const cpu = new Map<string, number[]>()
    for (const peer of PEERS)
      for (const layout of LAYOUTS)
        cpu.set(`${peer}, ${layout}`, await each(streams, (n) => tokenCost(bench, peer, layout, n, windowMs)))
    const sessions = idle.map((n) => Math.min(n, most))
    const held = new Map<PeerName, Idle[]>()
    for (const peer of PEERS) held.set(peer, await each(sessions, (n) => sessionCost(bench, peer, n)))
    const resumed = new Map<PeerName, number[]>()
    for (const peer of OURS) resumed.set(peer, await each(items, (n) => resumeCost(bench, peer, n)))

    const curve: Curve = {
      title: `CPU of the server per token, ${PER_SEC} tokens/s per stream`,
      xs: streams,
      xLabel: 'streams',
      yLabel: 'us per token',
      lines: [...cpu].map(([name, ys]) => ({ name, ys })),
    }
    return {
      tables: [
        {
          title: curve.title,
          columns: ['', ...streams.map((n) => `${n} stream${n === 1 ? '' : 's'}, us`)],
          rows: [...cpu].map(([name, us]) => [name, ...us.map(figure)]),
          notes: ['Few streams share few messages, so that a token costs more where there is one of them.'],
        },
        {
          title: 'Idle sessions: growth of the server for each',
          columns: ['', ...sessions.flatMap((n) => [`${n}: heap + external`, `${n}: RSS`])],
          rows: [...held].map(([name, of]) => [
            name,
            ...of.flatMap((one) => [`${figure(one.held)} B`, `${figure(one.rss)} B`]),
          ]),
          notes: [`After the first ${FIRST} connections. RSS grows in steps as coarse as a process asks for memory.`],
        },
        {
          title: 'Resume of one client, by the length of its log',
          columns: ['', ...items.map((n) => `${n} items, p50 ms`)],
          rows: [...resumed].map(([name, ms]) => [name, ...ms.map(figure)]),
          notes: ['From the cut to the first token that was made after it. The client comes back at once.'],
        },
      ],
      summary: [],
      curves: [curve],
      figures: {
        streams,
        cpu: Object.fromEntries(cpu),
        sessions,
        held: Object.fromEntries(held),
        items,
        resumed: Object.fromEntries(resumed),
      },
      failures: [],
    }
  },
}

async function each<Cost>(sizes: readonly number[], measure: (n: number) => Promise<Cost>): Promise<Cost[]> {
  const costs: Cost[] = []
  for (const n of sizes) costs.push(await measure(n))
  return costs
}

/** Microseconds of the server for a token, with so many streams. */
async function tokenCost({ stage, say }: Bench, peer: PeerName, layout: Layout, streams: number, windowMs: number) {
  say(`${streams} streams of ${peer}, ${layout}`)
  const { server, client } = await stage.pair(peer, { limits: ROOMY })
  const connections = layout === 'one connection' ? 1 : streams
  await client.ask('connect', connections)
  const request = { id: 'growth', pace: { type: 'paced', perSec: PER_SEC }, tokens: ENDLESS, gated: true } as const
  await client.ask('read', { perConnection: streams / connections, request })
  await server.ask('gathered', streams)
  await server.ask('open')
  await pass(SETTLE_MS)
  await server.ask('begin')
  await pass(windowMs)
  const { cpuUs, produced } = await server.ask('spent')
  await server.ask('endAll')
  await client.ask('finished')
  await stage[Symbol.asyncDispose]()
  return cpuUs / produced
}

type Idle = { held: number; rss: number }

async function sessionCost({ stage, say }: Bench, peer: PeerName, sessions: number): Promise<Idle> {
  say(`${sessions} idle sessions of ${peer}`)
  // All of them come from one address, which may have 10,000 connections by default.
  const { server, client } = await stage.pair(peer, { limits: { maxConnectionsPerAddress: sessions + FIRST } })
  await client.ask('connect', FIRST)
  const before = await server.ask('memory')
  for (let left = sessions; left > 0; left -= 2_000) await client.ask('connect', Math.min(left, 2_000))
  const after = await server.ask('memory')
  await stage[Symbol.asyncDispose]()
  return { held: (after.held - before.held) / sessions, rss: (after.rss - before.rss) / sessions }
}

const LOGGED_PER_SEC = 1_000
const CUTS = 20

/** Milliseconds until a client is back whose run has logged so many items. */
async function resumeCost({ stage, say }: Bench, peer: PeerName, items: number): Promise<number> {
  say(`a resume of ${peer} after ${items} items`)
  const { server, client } = await stage.pair(peer, { watched: true })
  await client.ask('returnAt', 'once')
  await client.ask('connect', 1)
  const pace = { type: 'paced', perSec: LOGGED_PER_SEC } as const
  await client.ask('read', { perConnection: 1, request: { id: 'resume', pace, tokens: ENDLESS, gated: true } })
  await server.ask('gathered', 1)
  await server.ask('open')
  await pass((items * 1_000) / LOGGED_PER_SEC)
  const ms: number[] = []
  for (let n = 0; n < CUTS; n++) {
    const cutAt = await server.ask('cut')
    ms.push(...(await client.ask('recovered', cutAt)))
    await pass(20)
  }
  await server.ask('endAll')
  await client.ask('finished')
  await stage[Symbol.asyncDispose]()
  return percentile(ms, 0.5)
}

import { OURS, type PeerName } from './peers/peers.ts'
import type { BenchQuestion } from './question.ts'
import { pass } from './stage/clock.ts'
import { mostOpenFiles } from './stage/machine.ts'
import { figure, percentile } from './stage/statistics.ts'

const ENDLESS = 1_000_000_000
const SPARE_FILES = 200

type Recovery = { ms: number[]; tokens: number; cpuMs: number }

/** How long does it take until a client is back after its connection was cut? */
export const resume: BenchQuestion = {
  name: 'resume',
  async ask({ stage, counts, say }) {
    const { cuts, clients } = counts({
      full: { cuts: 200, clients: 1_000 },
      quick: { cuts: 20, clients: 200 },
      smoke: { cuts: 2, clients: 3 },
    })
    const open = Math.min(clients, mostOpenFiles() - SPARE_FILES)

    /** Cuts every socket that often, and waits each time until a token made afterwards has come to every stream. */
    const recover = async (
      peer: PeerName,
      connections: number,
      perSec: number,
      times: number,
      at?: 'once',
    ): Promise<Recovery> => {
      const { server, client } = await stage.pair(peer, { watched: true })
      if (at) await client.ask('returnAt', at)
      await client.ask('connect', connections)
      await client.ask('read', {
        perConnection: 1,
        request: { id: 'resume', pace: { type: 'paced', perSec }, tokens: ENDLESS, gated: true },
      })
      await server.ask('gathered', connections)
      await server.ask('open')
      await pass(500)
      const ms: number[] = []
      await server.ask('begin')
      for (let n = 0; n < times; n++) {
        const cutAt = await server.ask('cut')
        ms.push(...(await client.ask('recovered', cutAt)))
        await pass(20)
      }
      const { cpuUs } = await server.ask('spent')
      await server.ask('endAll')
      const { tokens } = await client.ask('finished')
      const made = await server.ask('totalProduced')
      await stage[Symbol.asyncDispose]()
      if (tokens !== made) throw new Error(`${peer}: ${tokens} of ${made} tokens arrived`)
      return { ms, tokens, cpuMs: cpuUs / 1_000 }
    }

    const single = new Map<PeerName, Recovery>()
    const all = new Map<PeerName, Recovery>()
    for (const peer of OURS) {
      say(`one client of ${peer}`)
      single.set(peer, await recover(peer, 1, 1_000, cuts, 'once'))
      say(`${open} clients of ${peer}`)
      all.set(peer, await recover(peer, open, 20, 1))
    }
    say('connections of raw ws')
    const bare = await stage.pair('raw ws')
    const anew = await bare.client.ask('anew', cuts)
    const from = performance.now()
    await bare.client.ask('connect', open)
    const manyMs = performance.now() - from

    const p = ({ ms }: Recovery, share: number): string => figure(percentile(ms, share))
    const row = (name: string, recovery: Recovery): string[] => [
      name,
      p(recovery, 0.5),
      p(recovery, 0.99),
      p(recovery, 1),
    ]
    const bareMs = { ms: anew.map((us) => us / 1_000), tokens: 0, cpuMs: 0 }
    return {
      tables: [
        {
          title: `One client whose socket is cut, ${cuts} times, while its run makes 1,000 tokens/s`,
          columns: ['', 'p50 ms', 'p99 ms', 'most ms'],
          rows: [
            ...OURS.map((peer) => row(peer, single.get(peer)!)),
            row('raw ws: a new connection and its first token', bareMs),
          ],
          notes: [
            'From the cut to the first token that was made after it. The client comes back at once (quickMs 1, not 300). No token',
            'was lost or came twice: as many arrived as were made.',
          ],
        },
        {
          title: `${open} clients, all cut at once by the server`,
          columns: ['', 'p50 ms', 'p99 ms', 'most ms', 'CPU of the server, ms'],
          rows: OURS.map((peer) => [...row(peer, all.get(peer)!), figure(all.get(peer)!.cpuMs)]),
          notes: [
            'With the default delays: each comes back at a random time within 300 ms. Their runs make 20 tokens/s each, of which up',
            `to 50 ms are in these times. ${open} new connections of raw ws, fifty at a time: ${figure(manyMs)} ms.`,
          ],
        },
      ],
      summary: [
        {
          goal: 'Back after a cut, p99, <= 1 round trip + 20 ms',
          ws: `${p(single.get('millrace, ws')!, 0.99)} ms`,
          uws: `${p(single.get('millrace, uWS')!, 0.99)} ms`,
          others: `raw ws, a new connection ${p(bareMs, 0.99)} ms, without its stream`,
        },
        {
          goal: `${open} clients back after all were cut, <= 3 s`,
          ws: `${p(all.get('millrace, ws')!, 1)} ms`,
          uws: `${p(all.get('millrace, uWS')!, 1)} ms`,
          others: `raw ws, ${open} new connections ${figure(manyMs)} ms`,
        },
      ],
      failures: [],
      figures: { single: Object.fromEntries(single), all: Object.fromEntries(all), bareMs: bareMs.ms, manyMs },
    }
  },
}

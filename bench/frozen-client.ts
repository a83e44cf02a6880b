import { BASE, OURS, type PeerName } from './peers/peers.ts'
import type { BenchQuestion } from './question.ts'
import { pass } from './stage/clock.ts'
import { figure, growth } from './stage/statistics.ts'

const ENDLESS = 1_000_000_000
const STREAMS = 20
/** Where the growth of a peer is ended. */
const MOST_GROWTH = 400 * 1_048_576
/** `highWater` of our server. */
const HIGH_WATER = 262_144

type Sample = {
  rss: number
  held: number
  peakBuffered: number
  /** Milliseconds until the growth was ended, if it was. */
  stuffedMs: number | undefined
  producedWhileFrozen: number
  bystanderPerSec: number
  goesOn: boolean
}

/** What does a client cost that has stopped reading its socket? */
export const frozenClient: BenchQuestion = {
  name: 'frozen-client',
  async ask({ stage, counts, say }) {
    const { frozenMs, peers } = counts<{ frozenMs: number; peers: readonly PeerName[] }>({
      full: {
        frozenMs: 10_000,
        peers: [BASE, 'raw ws, a message per turn', 'raw uWS', 'server-sent events', 'socket.io', 'graphql-ws'],
      },
      quick: { frozenMs: 500, peers: [] },
      smoke: { frozenMs: 100, peers: [] },
    })

    /** Fresh processes each time: what one left behind in its heap is not the other's growth. */
    const measure = async (peer: PeerName, isShared: boolean): Promise<Sample> => {
      say(`${peer}${isShared ? ', next to a stream at full speed' : ', alone'}`)
      const { server, client, port } = await stage.pair(peer, { watched: true })
      const bystander = isShared ? stage.client(peer, port) : undefined
      const request = { id: 'frozen', pace: { type: 'full' as const }, tokens: ENDLESS }
      await client.ask('connect', 1)
      await client.ask('read', { perConnection: STREAMS, request })
      await bystander?.ask('connect', 1)
      await bystander?.ask('read', { perConnection: 1, request: { ...request, id: 'bystander' } })
      // Logs fill up, code is compiled.
      await pass(Math.min(2_000, frozenMs * 2))
      const before = await server.ask('memory')
      await server.ask('watch', before.rss + MOST_GROWTH)
      client.freeze()
      const producedBefore = await server.ask('totalProduced')
      const bystanderBefore = await bystander?.ask('soFar')
      let stuffedMs: number | undefined
      const from = performance.now()
      while (performance.now() - from < frozenMs) {
        await pass(100)
        if ((await server.ask('watched', false)).stuffed) {
          stuffedMs = performance.now() - from
          break
        }
      }
      const made = (await server.ask('totalProduced')) - producedBefore
      const bystanderAfter = await bystander?.ask('soFar')
      const read = bystanderBefore && bystanderAfter ? bystanderAfter.tokens - bystanderBefore.tokens : 0
      const after = await server.ask('memory')
      const { peakBuffered, peakRss } = await server.ask('watched', true)
      client.thaw()
      let goesOn = false
      if (stuffedMs === undefined) {
        const then = (await client.ask('soFar')).tokens
        await pass(300)
        goesOn = (await client.ask('soFar')).tokens > then
      }
      await stage[Symbol.asyncDispose]()
      return {
        // Without a bystander nothing is collected meanwhile, and the peak is what it costs.
        rss: Math.max(after.rss, isShared ? 0 : peakRss) - before.rss,
        held: after.held - before.held,
        peakBuffered,
        stuffedMs,
        producedWhileFrozen: made - read,
        bystanderPerSec: (read * 1_000) / frozenMs,
        goesOn,
      }
    }

    const samples = new Map<string, Sample>()
    for (const peer of [...OURS, ...peers]) samples.set(`${peer}, alone`, await measure(peer, false))
    for (const peer of OURS) samples.set(`${peer}, next to a stream`, await measure(peer, true))

    const of = (peer: PeerName, how: 'alone' | 'next to a stream'): Sample => samples.get(`${peer}, ${how}`)!
    const words = ({ rss, stuffedMs }: Sample): string =>
      stuffedMs === undefined ? growth(rss) : `${growth(rss)} in ${(stuffedMs / 1_000).toFixed(1)} s, ended there`
    return {
      tables: [
        {
          title: `A client that does not read for ${frozenMs / 1_000} s, with ${STREAMS} streams at full speed`,
          columns: [
            '',
            'RSS',
            'heap + external',
            'most buffered',
            'made meanwhile',
            'bystander reads/s',
            'goes on after it',
          ],
          rows: [...samples].map(([name, sample]) => [
            name,
            words(sample),
            growth(sample.held),
            sample.peakBuffered > 0 || name.startsWith('millrace') ? `${figure(sample.peakBuffered / 1_024)} KiB` : '-',
            figure(sample.producedWhileFrozen),
            sample.bystanderPerSec > 0 ? figure(sample.bystanderPerSec) : '-',
            sample.stuffedMs === undefined ? (sample.goesOn ? 'yes' : 'no') : '-',
          ]),
          notes: [
            'Growth of the server from just before, after collecting; RSS alone at its peak. The process of the client is stopped',
            `with SIGSTOP. What would grow without end is ended at ${MOST_GROWTH / 1_048_576} MB.`,
          ],
        },
      ],
      summary: [
        {
          goal: `Client frozen for ${frozenMs / 1_000} s, RSS of the server, <= +4 MB`,
          ws: growth(of('millrace, ws', 'alone').rss),
          uws: growth(of('millrace, uWS', 'alone').rss),
          others: peers.map((peer) => `${peer} ${words(of(peer, 'alone'))}`).join(', '),
        },
        {
          goal: 'The same next to a stream at full speed, heap + external, <= +2 MB',
          ws: growth(of('millrace, ws', 'next to a stream').held),
          uws: growth(of('millrace, uWS', 'next to a stream').held),
          others: '',
        },
        {
          goal: `Most that was buffered for it, <= ${HIGH_WATER / 1_024} KiB`,
          ws: `${figure(of('millrace, ws', 'next to a stream').peakBuffered / 1_024)} KiB`,
          uws: `${figure(of('millrace, uWS', 'next to a stream').peakBuffered / 1_024)} KiB`,
          others: '',
        },
      ],
      figures: Object.fromEntries(samples),
      failures: [],
    }
  },
}

import { ALL, BASE, OURS, type PeerName } from './peers/peers.ts'
import type { Memory } from './processes/memory.ts'
import type { BenchQuestion } from './question.ts'
import { mostOpenFiles } from './stage/machine.ts'
import { failureNotes, figuresOf, interleaved, recorded } from './stage/rounds.ts'
import type { Pair } from './stage/stage.ts'
import { figure, median, percentile, ratios, spread } from './stage/statistics.ts'

/** Files that a process has open apart from its connections, generously. */
const SPARE_FILES = 200
/** Open before the others are counted: what the first ones load is not theirs. */
const FIRST_CONNECTIONS = 500
/** Those while code is compiled are reported in blocks of so many. */
const BLOCK = 500

/** The same client on every transport: what a bare µWebSockets server answers is read with it as well. */
const BARE = { 'millrace, ws': BASE, 'millrace, uWS': 'raw uWS' } as const

/** How long does a start take, on an open connection and with one of its own, and what does one cost that does nothing? */
export const start: BenchQuestion = {
  name: 'start',
  async ask({ stage, counts, say }) {
    const { rounds, warmUps, starts, cold, connections, idleRounds, peers, idlePeers } = counts<{
      rounds: number
      /** Starts of each peer before the first round. Code is compiled meanwhile: for our own server until the 4,000th. */
      warmUps: number
      starts: number
      cold: number
      connections: number
      idleRounds: number
      peers: readonly PeerName[]
      idlePeers: readonly PeerName[]
    }>({
      full: {
        rounds: 7,
        warmUps: 4_000,
        starts: 300,
        cold: 100,
        connections: 2_000,
        idleRounds: 3,
        peers: ALL,
        idlePeers: [BASE, ...OURS, 'raw uWS', 'socket.io', 'graphql-ws'],
      },
      quick: {
        rounds: 3,
        warmUps: 4_000,
        starts: 200,
        cold: 40,
        connections: 2_000,
        idleRounds: 1,
        peers: [BASE, ...OURS, 'raw uWS'],
        idlePeers: [BASE, ...OURS, 'raw uWS'],
      },
      smoke: {
        rounds: 1,
        warmUps: 2,
        starts: 2,
        cold: 2,
        connections: 2,
        idleRounds: 1,
        peers: [BASE, OURS[0]],
        idlePeers: [OURS[0]],
      },
    })
    const open = Math.min(connections, mostOpenFiles() - SPARE_FILES - FIRST_CONNECTIONS)
    const first = Math.min(FIRST_CONNECTIONS, open)

    const pairs = await stage.pairs(peers)
    const request = { id: 'start', pace: { type: 'full' as const }, tokens: 1 }
    const fresh = new Map<PeerName, number[]>()
    for (const [peer, { client }] of pairs) {
      say(`${warmUps} starts of ${peer}, to have its code compiled`)
      await client.ask('connect', 1)
      const p50s: number[] = []
      for (let left = warmUps; left > 0; left -= BLOCK) {
        const count = Math.min(BLOCK, left)
        const took = await client.ask('starts', { count, request: { ...request, id: `warm-${left}` } })
        p50s.push(percentile(took, 0.5) / 1_000)
      }
      fresh.set(peer, p50s)
      await client.ask('anew', Math.min(warmUps, 2 * cold))
    }
    const opened = await interleaved(
      peers,
      rounds,
      async (peer) => {
        const { server, client } = pairs.get(peer) as Pair
        await server.ask('begin')
        await client.ask('begin')
        const took = await client.ask('starts', { count: starts, request })
        const { cpuUs } = await server.ask('spent')
        const { cpuUs: clientUs } = await client.ask('spent')
        return {
          p50: percentile(took, 0.5) / 1_000,
          p99: percentile(took, 0.99) / 1_000,
          cpuUs: cpuUs / starts,
          clientUs: clientUs / starts,
        }
      },
      say,
    )
    const anew = await interleaved(
      peers,
      rounds,
      async (peer) => {
        const { client } = pairs.get(peer) as Pair
        const took = await client.ask('anew', cold)
        return { p50: percentile(took, 0.5) / 1_000, p99: percentile(took, 0.99) / 1_000 }
      },
      (words) => say(`a connection each, ${words}`),
    )
    await stage[Symbol.asyncDispose]()

    const idle = new Map<PeerName, Memory[]>(idlePeers.map((peer) => [peer, []]))
    for (let round = 0; round < idleRounds; round++) {
      for (const peer of idlePeers) {
        say(`${open} idle connections of ${peer}`)
        const { server, client } = await stage.pair(peer)
        await client.ask('connect', first)
        const before = await server.ask('memory')
        await client.ask('connect', open)
        const after = await server.ask('memory')
        idle.get(peer)!.push({
          held: (after.held - before.held) / open,
          rss: (after.rss - before.rss) / open,
          settled: (after.settled - before.settled) / open,
        })
        await stage[Symbol.asyncDispose]()
      }
    }

    const p50 = (peer: PeerName): number[] => figuresOf(opened, peer, (one) => one.p50)
    const coldP50 = (peer: PeerName): number[] => figuresOf(anew, peer, (one) => one.p50)
    const x = (peer: PeerName): string => spread(ratios(p50(peer), p50(BASE)))
    const held = (peer: PeerName): number[] => (idle.get(peer) ?? []).map((one) => one.held)
    const rss = (peer: PeerName): number[] => (idle.get(peer) ?? []).map((one) => one.rss)
    const settled = (peer: PeerName): number[] => (idle.get(peer) ?? []).map((one) => one.settled)
    const bare = (peer: PeerName): PeerName => (peer === 'millrace, uWS' ? 'raw uWS' : BASE)
    const bytes = (values: readonly number[]): string => `${figure(median(values))} B`
    return {
      tables: [
        {
          title: 'Start on an open connection, to the first token in the loop that reads it',
          columns: ['', 'p50 ms', 'p99 ms', `p50 x ${BASE}`, 'server CPU, us', 'client CPU, us'],
          rows: peers.map((peer) => [
            peer,
            figure(median(p50(peer))),
            figure(median(figuresOf(opened, peer, (one) => one.p99))),
            x(peer),
            figure(median(figuresOf(opened, peer, (one) => one.cpuUs))),
            figure(median(figuresOf(opened, peer, (one) => one.clientUs))),
          ]),
          notes: [
            `${rounds} rounds of ${starts}, one after the other, behind the ${warmUps} of the next table.`,
            ...failureNotes(opened),
          ],
        },
        {
          title: 'The same while code is compiled: starts of a new process, p50 ms',
          columns: ['', ...(fresh.get(BASE) ?? []).map((_, n) => `to the ${(n + 1) * BLOCK}th`)],
          rows: peers.map((peer) => [peer, ...(fresh.get(peer) ?? []).map((ms) => figure(ms))]),
          notes: ['Not in the other tables.'],
        },
        {
          title: 'Cold start: connect, start, and the first token in the loop that reads it',
          columns: ['', 'p50 ms', 'p99 ms', `p50 x ${BASE}`],
          rows: peers.map((peer) => [
            peer,
            figure(median(coldP50(peer))),
            figure(median(figuresOf(anew, peer, (one) => one.p99))),
            spread(ratios(coldP50(peer), coldP50(BASE))),
          ]),
          notes: [`${rounds} rounds of ${cold}, one after the other.`, ...failureNotes(anew)],
        },
        {
          title: `An idle connection, ${open} of them`,
          columns: ['', 'heap + external', 'RSS, settled', 'RSS', 'x bare, heap + external', 'x bare, RSS, settled'],
          rows: idlePeers.map((peer) => [
            peer,
            bytes(held(peer)),
            bytes(settled(peer)),
            bytes(rss(peer)),
            spread(ratios(held(peer), held(bare(peer)))),
            spread(ratios(settled(peer), settled(bare(peer)))),
          ]),
          notes: [
            `Growth of the server for each connection after the first ${first}. What µWebSockets itself keeps is outside the heap:`,
            'there only RSS shows all of it, in steps as coarse as those in which a process asks for memory. It is settled',
            'without the room for young objects: at most 32 MB of a process, whatever the number of its connections.',
          ],
        },
      ],
      summary: [
        {
          goal: 'Start on an open connection to the first token, p50',
          ws: x('millrace, ws'),
          uws: x('millrace, uWS'),
          others: peers
            .filter((peer) => peer !== BASE && !peer.startsWith('millrace'))
            .map((peer) => `${peer} ${figure(median(ratios(p50(peer), p50(BASE))))}`)
            .join(', '),
        },
        {
          goal: 'Idle session, settled RSS',
          ws: `${bytes(settled('millrace, ws'))}, ${spread(ratios(settled('millrace, ws'), settled(BASE)))}`,
          uws: bytes(settled('millrace, uWS')),
          others: idlePeers
            .filter((peer) => !peer.startsWith('millrace'))
            .map((peer) => `${peer} ${bytes(settled(peer))}`)
            .join(', '),
        },
      ],
      goals: [
        {
          name: 'start on an open connection to the first token, p50 against the bare server',
          unit: 'x',
          atMost: 1.5,
          ws: median(ratios(p50('millrace, ws'), p50(BARE['millrace, ws']))),
          uws: median(ratios(p50('millrace, uWS'), p50(BARE['millrace, uWS']))),
        },
        {
          name: 'connect, start and first token, p50 against the bare server',
          unit: 'x',
          atMost: 2,
          ws: median(ratios(coldP50('millrace, ws'), coldP50(BARE['millrace, ws']))),
          uws: median(ratios(coldP50('millrace, uWS'), coldP50(BARE['millrace, uWS']))),
        },
        {
          name: 'idle session, settled RSS',
          unit: 'kB',
          atMost: 12,
          atMostOnUws: 4,
          ws: median(settled('millrace, ws')) / 1_000,
          uws: median(settled('millrace, uWS')) / 1_000,
        },
      ],
      failures: [...failureNotes(opened), ...failureNotes(anew)],
      figures: {
        fresh: Object.fromEntries(fresh),
        starts: recorded(opened),
        cold: recorded(anew),
        idle: Object.fromEntries(idle),
      },
    }
  },
}

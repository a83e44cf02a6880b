import { ALL, BARE_LOOP, BASE, OURS, type PeerName } from './peers/peers.ts'
import { MEAN_BYTES } from './processes/token-text.ts'
import type { Bench, BenchQuestion, Goal } from './question.ts'
import { failureNotes, figuresOf, interleaved, type Rounds, recorded } from './stage/rounds.ts'
import type { Pair } from './stage/stage.ts'
import { figure, median, ratios, spread } from './stage/statistics.ts'
import type { Table } from './stage/table.ts'

const CONNECTIONS = 50
const STREAMS = 20

const SOURCE = 'token source alone'
type Name = PeerName | typeof SOURCE

/** Those that take a tenth of the others' time for a token are given more of them. */
const FAST: readonly PeerName[] = [...OURS, ...Object.values(BARE_LOOP.turn)]
const FEW: readonly PeerName[] = [BASE, ...FAST]

type Sample = { serverUs: number; clientUs: number; bytesPerToken: number; tokensPerSec: number }
type Counts = { connections: number; slow: number; fast: number; rounds: number; peers: readonly PeerName[] }

/** What does a token cost when nothing waits? */
export const fullSpeed: BenchQuestion = {
  name: 'full-speed',
  async ask(bench) {
    const counts = bench.counts<Counts>({
      full: { connections: CONNECTIONS, slow: 200, fast: 2_000, rounds: 5, peers: ALL },
      quick: { connections: CONNECTIONS, slow: 30, fast: 500, rounds: 3, peers: FEW },
      smoke: { connections: 2, slow: 10, fast: 10, rounds: 1, peers: ALL },
    })
    const pairs = await bench.stage.pairs(counts.peers)
    for (const { client } of pairs.values()) await client.ask('connect', counts.connections)
    const single = await measure(bench, pairs, counts, 1)
    const chunks = await measure(bench, pairs, counts, 32)

    const others = (of: Rounds<Name, Sample>, figureOf: (one: Sample) => number, names: readonly PeerName[]): string =>
      names
        .filter((name) => counts.peers.includes(name))
        .map((name) => `${name} ${figure(median(figuresOf(of, name, figureOf)))}`)
        .join(', ')
    const bytes = (of: Rounds<Name, Sample>, name: PeerName): string =>
      `${figure(median(figuresOf(of, name, (one) => one.bytesPerToken)))} B`
    return {
      tables: [
        table('one token per stream and turn of the event loop', counts, single),
        table('32 tokens per stream and turn', counts, chunks),
      ],
      summary: [
        ...(
          [
            ['a token a turn', single],
            ['32 tokens a turn', chunks],
          ] as const
        ).map(([source, of]) => ({
          goal: `CPU of the server per token at full speed, ${source}`,
          ws: toBase(of, 'millrace, ws', server),
          uws: toBase(of, 'millrace, uWS', server),
          others: counts.peers
            .filter((name) => name !== BASE && !name.startsWith('millrace'))
            .map((name) => `${name} ${figure(median(against(of, name, BASE, server)))}`)
            .join(', '),
        })),
        {
          goal: `Wire per token of ${MEAN_BYTES.toFixed(1)} B, 32 tokens a turn, <= 7.5 B`,
          ws: bytes(chunks, 'millrace, ws'),
          uws: bytes(chunks, 'millrace, uWS'),
          others: others(chunks, (one) => one.bytesPerToken, [
            BASE,
            'raw ws, a message per turn',
            'server-sent events',
            'socket.io',
            'graphql-ws',
          ]),
        },
      ],
      goals: [
        goal('full speed, a token a turn: server CPU against the bare loop', 1.25, single, server),
        goal('full speed, a token a turn: client CPU against the bare loop', 2, single, client),
        goal('full speed, 32 tokens a turn: server CPU against the bare loop', 1.25, chunks, server),
        goal('full speed, 32 tokens a turn: client CPU against the bare loop', 2, chunks, client),
      ],
      figures: { single: recorded(single), chunks: recorded(chunks) },
      failures: [...failureNotes(single), ...failureNotes(chunks)],
    }
  },
}

const server = (one: Sample): number => one.serverUs
const client = (one: Sample): number => one.clientUs

async function measure(
  { stage, say }: Bench,
  pairs: Map<PeerName, Pair>,
  { connections, slow, fast, rounds, peers }: Counts,
  perTurn: number,
): Promise<Rounds<Name, Sample>> {
  const streams = connections * STREAMS
  const pace = { type: 'full', perTurn } as const
  const alone = stage.server(undefined)

  const measureSource = async (): Promise<Sample> => {
    await alone.ask('begin')
    await alone.ask('drain', { streams, request: { pace, tokens: fast } })
    const { cpuUs, us } = await alone.ask('spent')
    const serverUs = cpuUs / (streams * fast)
    return { serverUs, clientUs: Number.NaN, bytesPerToken: Number.NaN, tokensPerSec: (streams * fast * 1e6) / us }
  }

  const measurePeer = async (peer: PeerName): Promise<Sample> => {
    const { client, server } = pairs.get(peer) as Pair
    const count = FAST.includes(peer) ? fast : slow
    const request = { id: `full-${perTurn}`, pace, tokens: count, gated: true }
    await client.ask('read', { perConnection: STREAMS, request })
    await server.ask('gathered', streams)
    const bytes = await client.ask('bytes')
    await client.ask('begin')
    await server.ask('open')
    const { tokens } = await client.ask('finished')
    const { cpuUs, us, produced } = await server.ask('spent')
    const { cpuUs: clientCpuUs } = await client.ask('spent')
    if (tokens !== streams * count || produced !== tokens)
      throw new Error(`${tokens} of ${streams * count} tokens arrived`)
    return {
      serverUs: cpuUs / tokens,
      clientUs: clientCpuUs / tokens,
      bytesPerToken: ((await client.ask('bytes')) - bytes) / tokens,
      tokensPerSec: (tokens * 1e6) / us,
    }
  }
  const measureOne = (name: Name): Promise<Sample> => (name === SOURCE ? measureSource() : measurePeer(name))
  return interleaved<Name, Sample>([SOURCE, ...peers], rounds, measureOne, (words) =>
    say(`${perTurn} a turn, ${words}`),
  )
}

function against(of: Rounds<Name, Sample>, name: Name, base: Name, figureOf: (one: Sample) => number): number[] {
  return ratios(figuresOf(of, name, figureOf), figuresOf(of, base, figureOf))
}

function toBase(of: Rounds<Name, Sample>, name: Name, figureOf: (one: Sample) => number): string {
  return spread(against(of, name, BASE, figureOf))
}

function goal(name: string, atMost: number, of: Rounds<Name, Sample>, figureOf: (one: Sample) => number): Goal {
  const x = (peer: (typeof OURS)[number]): number => median(against(of, peer, BARE_LOOP.turn[peer], figureOf))
  return { name, unit: 'x', atMost, ws: x('millrace, ws'), uws: x('millrace, uWS') }
}

function table(source: string, { connections, peers }: Counts, of: Rounds<Name, Sample>): Table {
  const names: Name[] = [SOURCE, ...peers]
  const toTurn = (peer: (typeof OURS)[number], figureOf: (one: Sample) => number): string =>
    spread(against(of, peer, BARE_LOOP.turn[peer], figureOf))
  return {
    title: `Full speed: ${connections} connections x ${STREAMS} streams, ${source}, of ${MEAN_BYTES.toFixed(1)} B`,
    columns: [
      '',
      'server CPU, us per token',
      `x ${BASE}`,
      'client CPU, us per token',
      `x ${BASE}`,
      'wire, B',
      'tokens/s',
    ],
    rows: names.map((name) => [
      name,
      spread(figuresOf(of, name, server)),
      toBase(of, name, server),
      name === SOURCE ? '-' : spread(figuresOf(of, name, client)),
      name === SOURCE ? '-' : toBase(of, name, client),
      figure(median(figuresOf(of, name, (one) => one.bytesPerToken))),
      figure(median(figuresOf(of, name, (one) => one.tokensPerSec))),
    ]),
    notes: [
      ...OURS.map(
        (peer) =>
          `${peer} against ${BARE_LOOP.turn[peer]}: server ${toTurn(peer, server)}, client ${toTurn(peer, client)}.`,
      ),
      'Median of all rounds, and their range. The starts are not counted, the source and the check of every token are.',
      ...failureNotes(of),
    ],
  }
}

import { ALL, BARE_LOOP, BASE, OURS, type PeerName } from './peers/peers.ts'
import type { Pace } from './processes/token-source.ts'
import type { Bench, BenchQuestion, Goal } from './question.ts'
import { failureNotes, figuresOf, interleaved, type Rounds, recorded } from './stage/rounds.ts'
import type { Pair } from './stage/stage.ts'
import { figure, median, percentile, ratios, spread } from './stage/statistics.ts'
import type { Table } from './stage/table.ts'
import { measureWindow, type WindowTimes } from './stage/window.ts'

const PER_SEC = 50
const BURST: Pace = { type: 'bursts', size: 20, everyMs: 100 }
const FEW: readonly PeerName[] = [
  BASE,
  ...OURS,
  'raw ws, a message per turn',
  ...Object.values(BARE_LOOP.hold),
  'raw uWS',
]
const MOST: readonly PeerName[] = [...ALL, ...Object.values(BARE_LOOP.hold)]
const PER_CONNECTION = 20

const SOURCE = 'token source alone'
type Name = PeerName | typeof SOURCE

type Sample = { cpuUsPerToken: number; cores: number; clientCores: number; p50: number; p99: number }
type Shape = { connections: number; perConnection: number; pace: Pace }

/** What does a token cost, and how long does it take, when models write at their own speed? */
export const paced: BenchQuestion = {
  name: 'paced',
  async ask(bench) {
    const { stage, counts } = bench
    const { rounds, settleMs, windowMs, connections, singles, peers } = counts<{
      rounds: number
      settleMs: number
      windowMs: number
      connections: number
      singles: number
      peers: readonly PeerName[]
    }>({
      full: { rounds: 5, settleMs: 2_000, windowMs: 2_000, connections: 50, singles: 1_000, peers: MOST },
      quick: { rounds: 1, settleMs: 2_000, windowMs: 2_000, connections: 50, singles: 0, peers: FEW },
      smoke: { rounds: 1, settleMs: 100, windowMs: 100, connections: 2, singles: 2, peers: [BASE, OURS[0]] },
    })
    const times = { settleMs, windowMs }
    const many = await measure(bench, peers, rounds, times, {
      connections,
      perConnection: PER_CONNECTION,
      pace: { type: 'paced', perSec: PER_SEC },
    })
    const one = peers === MOST ? FEW : peers
    const bursts = await measure(bench, one, Math.min(rounds, 2), times, {
      connections,
      perConnection: 1,
      pace: BURST,
    })
    await stage[Symbol.asyncDispose]()
    const single =
      singles > 0 &&
      (await measure(bench, one, Math.min(rounds, 2), times, {
        connections: singles,
        perConnection: 1,
        pace: { type: 'paced', perSec: PER_SEC },
      }))

    const cpu = (of: Rounds<Name, Sample>, name: Name): string =>
      spread(
        ratios(
          figuresOf(of, name, (sample) => sample.cpuUsPerToken),
          figuresOf(of, BASE, (sample) => sample.cpuUsPerToken),
        ),
      )
    const added = (of: Rounds<Name, Sample>, name: Name): string =>
      `${figure(addedMs(of, name, (sample) => sample.p50))} ms`

    return {
      tables: [
        table(
          `Paced: ${connections} connections x ${PER_CONNECTION} streams x ${PER_SEC} tokens/s`,
          peers,
          many,
          'a token',
        ),
        ...(single
          ? [table(`Paced: ${singles} connections x 1 stream x ${PER_SEC} tokens/s`, one, single, 'a token')]
          : []),
        table(
          `Bursts: ${connections} connections x 1 stream, 20 tokens at once, 10 times a second`,
          one,
          bursts,
          'the first token of a burst',
        ),
      ],
      summary: [
        {
          goal: `CPU of the server, ${connections} x ${PER_CONNECTION} streams at ${PER_SEC}/s`,
          ws: cpu(many, 'millrace, ws'),
          uws: cpu(many, 'millrace, uWS'),
          others: peers
            .filter((name) => name !== BASE && !name.startsWith('millrace'))
            .map((name) => `${name} ${cpu(many, name).replace(/ .*/, '')}`)
            .join(', '),
        },
        {
          goal: 'Added to the time of a token, p50',
          ws: added(many, 'millrace, ws'),
          uws: added(many, 'millrace, uWS'),
          others: `raw ws, a message per turn ${added(many, 'raw ws, a message per turn')}`,
        },
        {
          goal: 'Added to the first token of a burst, p50',
          ws: added(bursts, 'millrace, ws'),
          uws: added(bursts, 'millrace, uWS'),
          others: `raw ws, a message per turn ${added(bursts, 'raw ws, a message per turn')}`,
        },
      ],
      goals: [
        goal('paced: server CPU against the bare loop of the same hold', 1.2, many, (one) => one.cpuUsPerToken),
        goal('paced: client CPU against the bare loop of the same hold', 1.6, many, (one) => one.clientCores),
        goal('paced: p99 of a token against the bare loop of the same hold', 1.3, many, (one) => one.p99),
        {
          name: 'paced: server CPU against raw ws',
          unit: 'x',
          atMost: 0.55,
          ws: median(against(many, 'millrace, ws', BASE, (one) => one.cpuUsPerToken)),
          uws: median(against(many, 'millrace, uWS', BASE, (one) => one.cpuUsPerToken)),
        },
      ],
      failures: [many, bursts, ...(single ? [single] : [])].flatMap(failureNotes),
      figures: { many: recorded(many), bursts: recorded(bursts), ...(single && { single: recorded(single) }) },
    }
  },
}

async function measure(
  { stage, say }: Bench,
  peers: readonly PeerName[],
  rounds: number,
  times: WindowTimes,
  { connections, perConnection, pace }: Shape,
): Promise<Rounds<Name, Sample>> {
  const pairs = await stage.pairs(peers)
  for (const { client } of pairs.values()) await client.ask('connect', connections)
  const alone = stage.server(undefined)
  const measureSource = async (): Promise<Sample> => {
    const perSec = pace.type === 'bursts' ? (pace.size * 1_000) / pace.everyMs : PER_SEC
    const drain = (ms: number): Promise<void> =>
      alone.ask('drain', {
        streams: connections * perConnection,
        request: { pace, tokens: Math.ceil((perSec * ms) / 1_000) },
      })
    await drain(times.settleMs)
    await alone.ask('begin')
    await drain(times.windowMs)
    const { cpuUs, us, produced } = await alone.ask('spent')
    return {
      cpuUsPerToken: cpuUs / produced,
      cores: cpuUs / us,
      clientCores: Number.NaN,
      p50: Number.NaN,
      p99: Number.NaN,
    }
  }
  const result = await interleaved<Name, Sample>(
    [SOURCE, ...peers],
    rounds,
    async (peer) => {
      if (peer === SOURCE) return measureSource()
      const streams = { connections, perConnection, request: { id: 'paced', pace } }
      const { spent, ofClient, latencies } = await measureWindow(pairs.get(peer) as Pair, streams, times)
      const { cpuUs, us, produced } = spent
      return {
        cpuUsPerToken: cpuUs / produced,
        cores: cpuUs / us,
        clientCores: ofClient.cpuUs / ofClient.us,
        p50: percentile(latencies, 0.5) / 1_000,
        p99: percentile(latencies, 0.99) / 1_000,
      }
    },
    say,
  )
  for (const { client } of pairs.values()) await client.ask('disconnect')
  return result
}

function against(of: Rounds<Name, Sample>, name: Name, base: Name, figure: (sample: Sample) => number): number[] {
  return ratios(figuresOf(of, name, figure), figuresOf(of, base, figure))
}

function goal(name: string, atMost: number, of: Rounds<Name, Sample>, figure: (sample: Sample) => number): Goal {
  const x = (peer: (typeof OURS)[number]): number => median(against(of, peer, BARE_LOOP.hold[peer], figure))
  return { name, unit: 'x', atMost, ws: x('millrace, ws'), uws: x('millrace, uWS') }
}

/** Compared with the median of raw ws, in each round. */
function addedMs(of: Rounds<Name, Sample>, name: Name, figure: (sample: Sample) => number): number {
  const base = figuresOf(of, BASE, figure)
  return median(figuresOf(of, name, figure).map((value, round) => value - (base[round] ?? Number.NaN)))
}

function table(title: string, peers: readonly Name[], of: Rounds<Name, Sample>, what: string): Table {
  const cpu = (name: Name): number[] => figuresOf(of, name, (sample) => sample.cpuUsPerToken)
  return {
    title,
    columns: [
      '',
      'server CPU',
      'us per token',
      `x ${BASE}`,
      'client CPU',
      'p50 ms',
      'p99 ms',
      'added p50',
      'added p99',
    ],
    rows: ([SOURCE, ...peers] as const).map((name) => [
      name,
      `${figure(100 * median(figuresOf(of, name, (sample) => sample.cores)))} %`,
      figure(median(cpu(name))),
      spread(ratios(cpu(name), cpu(BASE))),
      `${figure(100 * median(figuresOf(of, name, (sample) => sample.clientCores)))} %`,
      figure(median(figuresOf(of, name, (sample) => sample.p50))),
      figure(median(figuresOf(of, name, (sample) => sample.p99))),
      figure(addedMs(of, name, (sample) => sample.p50)),
      figure(addedMs(of, name, (sample) => sample.p99)),
    ]),
    notes: [
      `Times are from where ${what} is made to the loop that reads it. Each token says when that was.`,
      ...failureNotes(of),
    ],
  }
}

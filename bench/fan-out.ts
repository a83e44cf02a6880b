import { BASE, OURS, type PeerName } from './peers/peers.ts'
import type { TokenRequest } from './processes/token-source.ts'
import type { BenchQuestion } from './question.ts'
import { mostOpenFiles } from './stage/machine.ts'
import { failureNotes, figuresOf, interleaved, type Rounds, recorded } from './stage/rounds.ts'
import type { Pair } from './stage/stage.ts'
import { figure, median, ratios, spread } from './stage/statistics.ts'

const PER_SEC = 1_000
const SPARE_FILES = 200
/** The readers answer nothing, and would be taken for dead where a server takes long. */
const SILENT = { heartbeatMs: 120_000 }

type Shown =
  | 'millrace, ws, flushMs 4'
  | 'millrace, ws, flushMs 10'
  | 'millrace, uWS, flushMs 4'
  | 'millrace, uWS, flushMs 10'
  | PeerName

type Sample = { cpuUs: number; perMessage: number; x: number }

const TITLES: { readonly [Name in Shown]?: string } = {
  'raw ws': 'raw ws, a loop',
  'raw uWS': 'raw uWS, publish',
  'socket.io': 'socket.io, a room',
}

/** What does it cost to send one stream to many clients? */
export const fanOut: BenchQuestion = {
  name: 'fan-out',
  async ask({ stage, counts, say }) {
    const { sizes, tokens, rounds, peers } = counts<{
      sizes: readonly number[]
      tokens: number
      rounds: number
      peers: readonly PeerName[]
    }>({
      full: {
        sizes: [1_000, 100],
        tokens: 500,
        rounds: 2,
        peers: [BASE, 'raw ws, a message per turn', 'raw uWS', 'socket.io'],
      },
      quick: { sizes: [100], tokens: 300, rounds: 1, peers: [BASE] },
      smoke: { sizes: [3], tokens: 20, rounds: 1, peers: [BASE] },
    })
    const shown: Shown[] = [
      BASE,
      ...OURS.flatMap((peer) => [`${peer}, flushMs 4`, `${peer}, flushMs 10`] as const),
      ...peers.filter((peer) => peer !== BASE),
    ]
    const pairs = new Map<Shown, Pair>()
    for (const name of shown) {
      const [peer, flushMs] = name.split(', flushMs ') as [PeerName, string?]
      pairs.set(
        name,
        await stage.pair(peer, flushMs === undefined ? {} : { limits: { ...SILENT, flushMs: Number(flushMs) } }),
      )
    }

    const measure = async (name: Shown, sockets: number): Promise<Sample> => {
      const { server, client, peer, port } = pairs.get(name) as Pair
      const request: TokenRequest = { id: 'fan-out', pace: { type: 'paced', perSec: PER_SEC }, tokens, gated: true }
      const isOurs = name.startsWith('millrace')
      const run = isOurs ? await client.ask('startWatched', request) : undefined
      // One that watches may leave, so each round has watchers of its own.
      const watchers = stage.client(peer, port)
      await watchers.ask('watch', { sockets, ...(run !== undefined && { run }) })
      const broadcast = isOurs ? undefined : server.ask('broadcast', request)
      await server.ask('gathered', 1)
      const openedUs = await server.ask('open')
      await broadcast
      if (isOurs) await client.ask('watchedIsOver')
      const lastUs = await watchers.ask('silent')
      const { cpuUs } = await server.ask('spent')
      const { fewest, most, messages } = await watchers.ask('received')
      await watchers[Symbol.asyncDispose]()
      if (fewest !== tokens || most !== tokens) throw new Error(`${fewest} to ${most} of ${tokens} tokens arrived`)
      return {
        cpuUs: cpuUs / (sockets * tokens),
        perMessage: (sockets * tokens) / messages,
        x: (lastUs - openedUs) / 1_000 / ((tokens * 1_000) / PER_SEC),
      }
    }

    const bySize = new Map<number, Rounds<Shown, Sample>>()
    for (const size of sizes) {
      const sockets = Math.min(size, mostOpenFiles() - SPARE_FILES)
      bySize.set(sockets, await interleaved(shown, rounds, (name) => measure(name, sockets), say))
    }
    const cpu = (of: Rounds<Shown, Sample>, name: Shown): number[] => figuresOf(of, name, (one) => one.cpuUs)
    const x = (of: Rounds<Shown, Sample>, name: Shown): string => spread(ratios(cpu(of, name), cpu(of, BASE)))
    return {
      tables: [...bySize].map(([sockets, of]) => ({
        title: `One stream of ${PER_SEC} tokens/s to ${sockets} clients`,
        columns: ['', 'server CPU, us per delivery', `x ${BASE}`, 'tokens a message', 'took, x its own pace'],
        rows: shown.map((name) => [
          TITLES[name] ?? name,
          spread(cpu(of, name)),
          x(of, name),
          figure(median(figuresOf(of, name, (one) => one.perMessage))),
          figure(median(figuresOf(of, name, (one) => one.x))),
        ]),
        notes: [
          'The clients only take messages off their sockets, and what came is decoded and counted afterwards. A server that',
          'cannot keep pace takes longer, and a server that joins tokens then joins more of them, whatever its flushMs is.',
          ...failureNotes(of),
        ],
      })),
      summary: [...bySize].flatMap(([sockets, of]) =>
        ([4, 10] as const).map((flushMs) => ({
          goal: `CPU per delivery to ${sockets} watchers at ${PER_SEC}/s, flushMs ${flushMs}, <= ${flushMs === 4 ? 0.3 : 0.2}x`,
          ws: x(of, `millrace, ws, flushMs ${flushMs}`),
          uws: x(of, `millrace, uWS, flushMs ${flushMs}`),
          others:
            flushMs === 4
              ? peers
                  .filter((peer) => peer !== BASE)
                  .map((peer) => `${peer} ${figure(median(ratios(cpu(of, peer), cpu(of, BASE))))}`)
                  .join(', ')
              : '',
        })),
      ),
      figures: Object.fromEntries([...bySize].map(([sockets, of]) => [sockets, recorded(of)])),
      failures: [...bySize.values()].flatMap(failureNotes),
    }
  },
}

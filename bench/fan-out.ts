import { BASE, OURS, type PeerName } from './peers/peers.ts'
import type { TokenRequest } from './processes/token-source.ts'
import type { Question } from './question.ts'
import { mostOpenFiles } from './stage/machine.ts'
import { failureNotes, figuresOf, interleaved, recorded } from './stage/rounds.ts'
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

/** What does it cost to send one stream to a thousand clients? */
export const fanOut: Question = {
  name: 'fan-out',
  async ask({ stage, counts, say }) {
    const { sockets, tokens, rounds, peers } = counts<{
      sockets: number
      tokens: number
      rounds: number
      peers: readonly PeerName[]
    }>({
      full: {
        sockets: 1_000,
        tokens: 500,
        rounds: 2,
        peers: [BASE, 'raw ws, a message per turn', 'raw uWS', 'socket.io'],
      },
      quick: { sockets: 200, tokens: 200, rounds: 1, peers: [BASE] },
      smoke: { sockets: 3, tokens: 20, rounds: 1, peers: [BASE] },
    })
    const open = Math.min(sockets, mostOpenFiles() - SPARE_FILES)
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

    const result = await interleaved(
      shown,
      rounds,
      async (name) => {
        const { server, client, peer } = pairs.get(name) as Pair
        const request: TokenRequest = { id: 'fan-out', pace: { type: 'paced', perSec: PER_SEC }, tokens, gated: true }
        const isOurs = name.startsWith('millrace')
        const run = isOurs ? await client.ask('startWatched', request) : undefined
        // One that watches may leave, so each round has watchers of its own.
        const watchers = stage.client(peer, await server.ask('listening'))
        await watchers.ask('watch', { sockets: open, ...(run !== undefined && { run }) })
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
          cpuUs: cpuUs / (open * tokens),
          perMessage: (open * tokens) / messages,
          x: (lastUs - openedUs) / 1_000 / ((tokens * 1_000) / PER_SEC),
        }
      },
      say,
    )
    const cpu = (name: Shown): number[] => figuresOf(result, name, (one) => one.cpuUs)
    const x = (name: Shown): string => spread(ratios(cpu(name), cpu(BASE)))
    return {
      tables: [
        {
          title: `One stream of ${PER_SEC} tokens/s to ${open} clients`,
          columns: ['', 'server CPU, us per delivery', `x ${BASE}`, 'tokens a message', 'took, x its own pace'],
          rows: shown.map((name) => [
            name === BASE
              ? `${BASE}, a loop`
              : name === 'raw uWS'
                ? 'raw uWS, publish'
                : name === 'socket.io'
                  ? 'socket.io, a room'
                  : name,
            spread(cpu(name)),
            x(name),
            figure(median(figuresOf(result, name, (one) => one.perMessage))),
            figure(median(figuresOf(result, name, (one) => one.x))),
          ]),
          notes: [
            'The clients only take messages off their sockets, and what came is decoded and counted afterwards. A server that',
            'cannot keep pace takes longer, and whoever joins tokens then joins more of them.',
            ...failureNotes(result),
          ],
        },
      ],
      summary: [
        ...([4, 10] as const).map((flushMs) => ({
          goal: `CPU per delivery to ${open} watchers at ${PER_SEC}/s, flushMs ${flushMs}, <= ${flushMs === 4 ? 0.3 : 0.2}x`,
          ws: x(`millrace, ws, flushMs ${flushMs}`),
          uws: x(`millrace, uWS, flushMs ${flushMs}`),
          others:
            flushMs === 4
              ? peers
                  .filter((peer) => peer !== BASE)
                  .map((peer) => `${peer} ${figure(median(ratios(cpu(peer), cpu(BASE))))}`)
                  .join(', ')
              : '',
        })),
      ],
      figures: recorded(result),
      failures: failureNotes(result),
    }
  },
}

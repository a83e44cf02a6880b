import { BASE, OURS, type PeerName } from './peers/peers.ts'
import type { TokenRequest } from './processes/token-source.ts'
import type { BenchQuestion } from './question.ts'
import { mostOpenFiles } from './stage/machine.ts'
import { failureNotes, figuresOf, interleaved, type Rounds, recorded } from './stage/rounds.ts'
import type { Pair } from './stage/stage.ts'
import { figure, median, ratios, spread } from './stage/statistics.ts'

const SPARE_FILES = 200
/** The readers answer nothing, and would be taken for dead where a server takes long. */
const SILENT = { heartbeatMs: 120_000 }

type Shown =
  | 'millrace, ws'
  | 'millrace, uWS'
  | 'millrace, ws, flushMs 10'
  | 'millrace, uWS, flushMs 10'
  | Exclude<PeerName, (typeof OURS)[number]>

/** One stream of so many tokens a second to so many clients. */
type Case = { sockets: number; perSec: number; tokens: number; shown: readonly Shown[] }
type Sample = { cpuUs: number; perMessage: number; x: number }

const OTHERS = [BASE, 'raw ws, a message per turn', 'raw uWS', 'socket.io'] as const
const ALL_SHOWN = [BASE, ...OURS, 'millrace, ws, flushMs 10', 'millrace, uWS, flushMs 10', ...OTHERS.slice(1)] as const
const BARE = [BASE, ...OURS, 'raw uWS'] as const

const TITLES: { readonly [Name in Shown]?: string } = {
  'raw ws': 'raw ws, a loop',
  'raw uWS': 'raw uWS, publish',
  'socket.io': 'socket.io, a room',
}

/** What does it cost to send one stream to many clients? */
export const fanOut: BenchQuestion = {
  name: 'fan-out',
  async ask({ stage, counts, say }) {
    const { rounds, cases } = counts<{ rounds: number; cases: readonly Case[] }>({
      full: {
        rounds: 3,
        cases: [
          { sockets: 1_000, perSec: 50, tokens: 150, shown: ALL_SHOWN },
          { sockets: 1_000, perSec: 1_000, tokens: 500, shown: ALL_SHOWN },
          { sockets: 100, perSec: 1_000, tokens: 500, shown: ALL_SHOWN },
        ],
      },
      quick: { rounds: 3, cases: [{ sockets: 1_000, perSec: 50, tokens: 50, shown: BARE }] },
      smoke: { rounds: 1, cases: [{ sockets: 3, perSec: 1_000, tokens: 20, shown: BARE }] },
    })
    const pairs = new Map<Shown, Pair>()
    for (const name of new Set(cases.flatMap(({ shown }) => shown))) {
      const [peer, flushMs] = name.split(', flushMs ') as [PeerName, string?]
      const limits = flushMs === undefined ? SILENT : { ...SILENT, flushMs: Number(flushMs) }
      pairs.set(name, await stage.pair(peer, name.startsWith('millrace') ? { limits } : {}))
    }

    const measure = async (name: Shown, sockets: number, { perSec, tokens }: Case): Promise<Sample> => {
      const { server, client, peer, port } = pairs.get(name) as Pair
      const request: TokenRequest = { id: 'fan-out', pace: { type: 'paced', perSec }, tokens, gated: true }
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
        x: (lastUs - openedUs) / 1_000 / ((tokens * 1_000) / perSec),
      }
    }

    const measured: { title: string; of: Rounds<Shown, Sample>; shown: readonly Shown[]; perSec: number }[] = []
    for (const one of cases) {
      const sockets = Math.min(one.sockets, mostOpenFiles() - SPARE_FILES)
      const title = `One stream of ${one.perSec} tokens/s to ${sockets} clients`
      const of = await interleaved(one.shown, rounds, (name) => measure(name, sockets, one), say)
      measured.push({ title, of, shown: one.shown, perSec: one.perSec })
    }
    const cpu = (of: Rounds<Shown, Sample>, name: Shown): number[] => figuresOf(of, name, (one) => one.cpuUs)
    const against = (of: Rounds<Shown, Sample>, name: Shown, base: Shown = BASE): number[] =>
      ratios(cpu(of, name), cpu(of, base))
    return {
      tables: measured.map(({ title, of, shown }) => ({
        title,
        columns: [
          '',
          'server CPU, us per delivery',
          `x ${BASE}`,
          'x publish',
          'tokens a message',
          'took, x its own pace',
        ],
        rows: shown.map((name) => [
          TITLES[name] ?? name,
          spread(cpu(of, name)),
          spread(against(of, name)),
          spread(against(of, name, 'raw uWS')),
          figure(median(figuresOf(of, name, (one) => one.perMessage))),
          figure(median(figuresOf(of, name, (one) => one.x))),
        ]),
        notes: [
          'The clients only take messages off their sockets, and what came is decoded and counted afterwards. A server that',
          'cannot keep pace takes longer, and a server that joins tokens then joins more of them, whatever its flushMs is.',
          ...failureNotes(of),
        ],
      })),
      summary: measured.map(({ title, of, shown }) => ({
        goal: `${title}, CPU per delivery`,
        ws: spread(against(of, 'millrace, ws')),
        uws: spread(against(of, 'millrace, uWS')),
        others: shown
          .filter((name) => name !== BASE && !name.startsWith('millrace'))
          .map((name) => `${TITLES[name] ?? name} ${figure(median(against(of, name)))}`)
          .join(', '),
      })),
      goals: measured.slice(0, 1).map(({ title, of }) => ({
        name: `${title}: CPU per delivery against a loop, on uWS against publish`,
        unit: 'x',
        atMost: 1,
        atMostOnUws: 1.2,
        ws: median(against(of, 'millrace, ws')),
        uws: median(against(of, 'millrace, uWS', 'raw uWS')),
      })),
      figures: Object.fromEntries(measured.map(({ title, of }) => [title, recorded(of)])),
      failures: measured.flatMap(({ of }) => failureNotes(of)),
    }
  },
}

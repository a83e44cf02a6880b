import { ALL, BASE, OURS, type PeerName } from './peers/peers.ts'
import { MEAN_BYTES } from './processes/token-text.ts'
import type { BenchQuestion } from './question.ts'
import { failureNotes, figuresOf, interleaved, recorded } from './stage/rounds.ts'
import type { Pair } from './stage/stage.ts'
import { figure, median, ratios, spread } from './stage/statistics.ts'

const CONNECTIONS = 50
const STREAMS = 20

const SOURCE = 'token source alone'

/** Those that take a tenth of the others' time for a token are given more of them. */
const FAST: readonly PeerName[] = [...OURS, 'raw ws, a message per turn', 'raw uWS, a message per turn']

type Sample = { cpuUsPerToken: number; bytesPerToken: number; tokensPerSec: number }

/** What does a token cost when nothing waits? */
export const fullSpeed: BenchQuestion = {
  name: 'full-speed',
  async ask({ stage, counts, say }) {
    const { connections, slow, fast, rounds } = counts({
      full: { connections: CONNECTIONS, slow: 200, fast: 2_000, rounds: 5 },
      quick: { connections: CONNECTIONS, slow: 30, fast: 300, rounds: 1 },
      smoke: { connections: 2, slow: 10, fast: 10, rounds: 1 },
    })
    const pairs = await stage.pairs()
    for (const { client } of pairs.values()) await client.ask('connect', connections)
    const alone = stage.server(undefined)
    const streams = connections * STREAMS

    const measureSource = async (): Promise<Sample> => {
      await alone.ask('begin')
      await alone.ask('drain', { streams, request: { pace: { type: 'full' }, tokens: fast } })
      const { cpuUs, us } = await alone.ask('spent')
      return { cpuUsPerToken: cpuUs / (streams * fast), bytesPerToken: 0, tokensPerSec: (streams * fast * 1e6) / us }
    }

    const measure = async (peer: PeerName): Promise<Sample> => {
      const { client, server } = pairs.get(peer) as Pair
      const count = FAST.includes(peer) ? fast : slow
      await client.ask('read', {
        perConnection: STREAMS,
        request: { id: 'full', pace: { type: 'full' }, tokens: count, gated: true },
      })
      await server.ask('gathered', streams)
      const bytes = await client.ask('bytes')
      await server.ask('open')
      const { tokens } = await client.ask('finished')
      const { cpuUs, us, produced } = await server.ask('spent')
      if (tokens !== streams * count || produced !== tokens)
        throw new Error(`${tokens} of ${streams * count} tokens arrived`)
      return {
        cpuUsPerToken: cpuUs / tokens,
        bytesPerToken: ((await client.ask('bytes')) - bytes) / tokens,
        tokensPerSec: (tokens * 1e6) / us,
      }
    }

    const names = [SOURCE, ...ALL] as const
    const result = await interleaved(names, rounds, (name) => (name === SOURCE ? measureSource() : measure(name)), say)
    const cpu = (name: (typeof names)[number]): number[] => figuresOf(result, name, (one) => one.cpuUsPerToken)
    const bytes = (name: (typeof names)[number]): number[] => figuresOf(result, name, (one) => one.bytesPerToken)
    const toBase = (name: (typeof names)[number]): string => spread(ratios(cpu(name), cpu(BASE)))
    const toTurn = (name: PeerName): string => spread(ratios(cpu(name), cpu('raw ws, a message per turn')))

    return {
      tables: [
        {
          title: `Full speed: ${connections} connections x ${STREAMS} streams, tokens of ${MEAN_BYTES.toFixed(1)} B`,
          columns: ['', 'server CPU, us per token', `x ${BASE}`, 'wire, B per token', 'tokens/s'],
          rows: names.map((name) => [
            name,
            spread(cpu(name)),
            toBase(name),
            name === SOURCE ? '-' : figure(median(bytes(name))),
            figure(median(figuresOf(result, name, (one) => one.tokensPerSec))),
          ]),
          notes: [
            `Compared with the bare loop of one message per turn on ws: millrace, ws ${toTurn('millrace, ws')}, millrace, uWS ${toTurn('millrace, uWS')}.`,
            'Median of all rounds, and their range. The starts are not counted, the source is.',
            ...failureNotes(result),
          ],
        },
      ],
      summary: [
        {
          goal: 'CPU of the server per token at full speed, 50 x 20, <= 0.12x',
          ws: toBase('millrace, ws'),
          uws: toBase('millrace, uWS'),
          others: (['raw ws, a message per turn', 'raw uWS', 'server-sent events', 'socket.io', 'graphql-ws'] as const)
            .map((name) => `${name} ${figure(median(ratios(cpu(name), cpu(BASE))))}`)
            .join(', '),
        },
        {
          goal: 'The same compared with the bare loop of a message per turn, <= 1.1x',
          ws: toTurn('millrace, ws'),
          uws: spread(ratios(cpu('millrace, uWS'), cpu('raw uWS, a message per turn'))),
          others: '',
        },
        {
          goal: `Wire per token of ${MEAN_BYTES.toFixed(1)} B at full speed, <= 7.5 B`,
          ws: `${figure(median(bytes('millrace, ws')))} B`,
          uws: `${figure(median(bytes('millrace, uWS')))} B`,
          others: ([BASE, 'raw ws, a message per turn', 'server-sent events', 'socket.io', 'graphql-ws'] as const)
            .map((name) => `${name} ${figure(median(bytes(name)))}`)
            .join(', '),
        },
      ],
      figures: recorded(result),
      failures: failureNotes(result),
    }
  },
}

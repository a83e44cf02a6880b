import { BASE, OURS, type PeerName } from './peers/peers.ts'
import type { Pace } from './processes/token-source.ts'
import type { BenchQuestion } from './question.ts'
import { pass } from './stage/clock.ts'
import { failureNotes, interleaved } from './stage/rounds.ts'
import type { ClientProcess, Pair } from './stage/stage.ts'
import { figure, percentile } from './stage/statistics.ts'

const ENDLESS = 1_000_000_000
/** How long a hundred streams at full speed take to fill their logs. A thousand take longer. */
const FILL_MS = 4_000
/** Not measured: code is compiled meanwhile. */
const WARM_STARTS = 4_000
const WARM_CANCELS = 1_000
const WAITING: Pace = { type: 'waiting', ms: 20 }
/** Cancels of a producer that waits come in so many rounds, A B C A B C ...: what else the machine does meets all. */
const ROUNDS = 5
const BARE = { 'millrace, ws': BASE, 'millrace, uWS': 'raw uWS' } as const
/** Beside a cancel: connections, streams on each, and how fast they are. */
type Load = { connections: number; streams: number; pace: Pace }
const MANY: Load = { connections: 50, streams: 20, pace: { type: 'full' } }
const SOME: Load = { connections: 5, streams: 20, pace: { type: 'full', perTurn: 1 } }
/** Streams whose tokens fill all buffers, and the credit for it. */
const CLOG_STREAMS = 20
const CLOG_CREDIT = 1_900

type Cancelled = { id: string; at: number }[]
/** An undefined value of another process arrives as null. */
type StopTimes = { ask(name: 'stopped', ids: readonly string[]): Promise<(number | null | undefined)[]> }

/** How long does it take from the client's call until the code behind the stream is asked to stop? */
export const cancel: BenchQuestion = {
  name: 'cancel',
  async ask({ stage, counts, say }) {
    const { count, few, clogs, peers } = counts<{
      /** Cancels of a producer that waits: those whose p99 has a goal. */
      count: number
      /** Of every other. */
      few: number
      clogs: number
      peers: readonly PeerName[]
    }>({
      full: {
        count: 1_000,
        few: 1_000,
        clogs: 5,
        peers: [BASE, 'raw uWS', 'server-sent events', 'socket.io', 'graphql-ws'],
      },
      quick: { count: 400, few: 50, clogs: 1, peers: [BASE, 'raw uWS'] },
      smoke: { count: 2, few: 2, clogs: 1, peers: ['graphql-ws'] },
    })
    const took = new Map<string, number[]>()
    const failures: string[] = []
    const measure = async (name: string, cancels: () => Promise<Cancelled>, stopTimes: StopTimes): Promise<void> => {
      say(name)
      try {
        took.set(name, await delays(await cancels(), stopTimes))
      } catch (error) {
        failures.push(`${name} failed, and has no figures: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    const sequence =
      (client: ClientProcess, id: string, pace: Pace, n = few) =>
      (): Promise<Cancelled> =>
        client.ask('cancels', { count: n, request: { id, pace, tokens: ENDLESS } })

    /** Starts and cancels until their code is compiled. */
    const warmUp = async (client: ClientProcess): Promise<void> => {
      await client.ask('connect', 1)
      const starts = { id: 'warm', pace: { type: 'full' as const }, tokens: 1 }
      await client.ask('starts', { count: Math.min(WARM_STARTS, 20 * count), request: starts })
      const request = { id: 'warm-cancel', pace: WAITING, tokens: ENDLESS }
      await client.ask('cancels', { count: Math.min(WARM_CANCELS, 5 * count), request, atOnce: true })
    }

    const beside = async (peer: PeerName, port: number, load: Load, then: () => Promise<void>): Promise<void> => {
      const client = stage.client(peer, port, 'load')
      await client.ask('connect', load.connections)
      const request = { id: `load-${load.connections}`, pace: load.pace, tokens: ENDLESS }
      await client.ask('read', { perConnection: load.streams, request })
      // The logs of the hundred are full then: they grow no more.
      await pass(FILL_MS)
      await then()
      await client[Symbol.asyncDispose]()
    }

    const provider = stage.provider()
    const providerPort = await provider.ask('listening')
    const pairs = new Map<PeerName, Pair>()
    for (const peer of [...OURS, ...peers]) {
      const pair = await stage.pair(peer, isOurs(peer) ? { providerPort } : {})
      pairs.set(peer, pair)
      await warmUp(pair.client)
    }
    const rounds = Math.min(ROUNDS, count)
    let times = 0
    const waits = await interleaved(
      [...pairs.keys()],
      rounds,
      async (peer) => {
        const { server, client } = pairs.get(peer) as Pair
        return delays(await sequence(client, `waits-${times++}`, WAITING, count / rounds)(), server)
      },
      (words) => say(`waits, ${words}`),
    )
    for (const [peer, samples] of waits.samples) if (samples.length > 0) took.set(`${peer}: waits`, samples.flat())
    failures.push(...failureNotes(waits))
    for (const [peer, { server, client, port }] of pairs)
      if (isOurs(peer) || peer === BASE || peer === 'raw uWS')
        await beside(peer, port, SOME, async () => {
          await measure(`${peer}: waits, next to 5 x 20 streams`, sequence(client, 'some', WAITING, count), server)
        })

    for (const peer of OURS) {
      const { server, client, port } = pairs.get(peer) as Pair
      await measure(`${peer}: yields`, sequence(client, 'yields', { type: 'full' }), server)
      await measure(`${peer}: waits on a tool`, sequence(client, 'tool', { type: 'tool' }), server)
      await measure(
        `${peer}: waits on a model, to its closed socket`,
        sequence(client, `${peer}-model`, { type: 'model' }),
        provider,
      )

      await beside(peer, port, MANY, async () => {
        await measure(`${peer}: waits, next to 50 x 20 streams`, sequence(client, 'loaded', WAITING), server)
        const yields = sequence(client, 'yields-loaded', { type: 'full' })
        await measure(`${peer}: yields, next to 50 x 20 streams`, yields, server)
      })

      await measure(
        `${peer}: its socket is full`,
        async () => {
          const cancelled: Cancelled = []
          for (let n = 0; n < clogs; n++) {
            const clogged = stage.client(peer, port)
            await clogged.ask('connect', 1)
            const request = { id: `clog-${n}`, pace: { type: 'full' as const }, tokens: ENDLESS, large: true }
            await clogged.ask('clog', { count: CLOG_STREAMS, request, credit: CLOG_CREDIT })
            for (let before = -1, now = 0; now !== before; ) {
              await pass(100)
              before = now
              now = await server.ask('totalProduced')
            }
            cancelled.push(...(await clogged.ask('unclog')))
            // A process that is ended takes along what it has sent and the server has not read.
            await clogged.ask('disconnect')
            await clogged[Symbol.asyncDispose]()
          }
          return cancelled
        },
        server,
      )
    }

    const ms = (name: string, share: number): number => percentile(took.get(name) ?? [], share)
    const x = (peer: (typeof OURS)[number], share: number): number =>
      ms(`${peer}: waits`, share) / ms(`${BARE[peer]}: waits`, share)
    const p = (name: string, share: number): string => figure(ms(name, share))
    const words = (name: string): string => `${p(name, 0.5)} / ${p(name, 0.99)} ms`
    const line = (goal: string, of: string, others = '') => ({
      goal,
      ws: words(`millrace, ws: ${of}`),
      uws: words(`millrace, uWS: ${of}`),
      others,
    })
    return {
      tables: [
        {
          title: 'Cancel: from the call in the client to the signal of the code behind the stream',
          columns: ['', 'p50 ms', 'p99 ms', 'most ms', 'of'],
          rows: [...took].map(([name, ms]) => [name, p(name, 0.5), p(name, 0.99), p(name, 1), String(ms.length)]),
          notes: [
            'A waiting producer makes a token each 20 ms, and is cancelled 4 to 8 ms after the first. graphql-ws gives its resolver no signal: a generator learns of it there.',
            ...failures,
          ],
        },
      ],
      summary: [
        line(
          'Cancel, p50 / p99, the producer waits',
          'waits',
          peers.map((peer) => `${peer} ${words(`${peer}: waits`)}`).join(', '),
        ),
        line('... yields at full speed', 'yields'),
        line('... waits on a tool', 'waits on a tool'),
        line("... waits on a model, until the provider's socket is closed", 'waits on a model, to its closed socket'),
        line('... its socket is full', 'its socket is full'),
        line(
          '... next to 5 x 20 streams at full speed',
          'waits, next to 5 x 20 streams',
          `raw ws ${words('raw ws: waits, next to 5 x 20 streams')}`,
        ),
        line('... next to 50 x 20 streams at full speed', 'waits, next to 50 x 20 streams'),
      ],
      goals: [
        {
          name: 'cancel while the producer waits, p50 against the bare server',
          unit: 'x',
          atMost: 1.3,
          ws: x('millrace, ws', 0.5),
          uws: x('millrace, uWS', 0.5),
        },
        {
          name: 'cancel while the producer waits, p99 against the bare server',
          unit: 'x',
          atMost: 2,
          ws: x('millrace, ws', 0.99),
          uws: x('millrace, uWS', 0.99),
        },
        {
          name: 'cancel next to 100 streams at full speed, p99',
          unit: 'ms',
          atMost: 4,
          ws: ms('millrace, ws: waits, next to 5 x 20 streams', 0.99),
          uws: ms('millrace, uWS: waits, next to 5 x 20 streams', 0.99),
        },
      ],
      figures: Object.fromEntries(took),
      failures,
    }
  },
}

function isOurs(peer: PeerName): boolean {
  return peer in BARE
}

/** Milliseconds from each call until its stream was asked to stop. */
async function delays(cancelled: Cancelled, stopTimes: StopTimes): Promise<number[]> {
  await pass(50)
  const ids = cancelled.map(({ id }) => id)
  let stops = await stopTimes.ask('stopped', ids)
  if (stops.some((at) => at == null)) {
    await pass(1_000)
    stops = await stopTimes.ask('stopped', ids)
  }
  const missing = stops.filter((at) => at == null).length
  if (missing > 0) throw new Error(`${missing} of ${ids.length} were never asked to stop`)
  return stops.map((at, i) => ((at as number) - cancelled[i]!.at) / 1_000)
}

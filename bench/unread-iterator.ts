import { BASE, OURS, type PeerName } from './peers/peers.ts'
import type { Bench, BenchQuestion } from './question.ts'
import { pass } from './stage/clock.ts'
import { failureNotes, figuresOf, interleaved, recorded } from './stage/rounds.ts'
import type { Pair } from './stage/stage.ts'
import { figure, growth, median, ratios, spread } from './stage/statistics.ts'

const ENDLESS = 1_000_000_000
/** Half a window: what a client of ours gives back at once. */
const TAKE = 128
/** Where a peer that would never stop is ended. */
const MOST_TOKENS = 400_000
/** Our defaults: what a subscription holds, and what an actor may make beyond that. */
const CREDIT = 256
const READ_AHEAD = 32
const MAX_CREDIT = 1_900
const SIBLINGS = 9

type Stop = { produced: number; stopped: boolean; clientHeld: number }

/** What does an iterator cost that is not pulled, and what do its bystanders notice? */
export const unreadIterator: BenchQuestion = {
  name: 'unread-iterator',
  async ask(bench) {
    const { stage, counts } = bench
    const { pairsOfRounds, windowMs, creditTokens, peers } = counts<{
      pairsOfRounds: number
      windowMs: number
      creditTokens: number
      peers: readonly PeerName[]
    }>({
      full: {
        pairsOfRounds: 7,
        windowMs: 800,
        creditTokens: 2_000,
        peers: [BASE, 'raw uWS', 'server-sent events', 'socket.io', 'graphql-ws'],
      },
      quick: { pairsOfRounds: 1, windowMs: 300, creditTokens: 200, peers: [BASE, 'server-sent events'] },
      smoke: { pairsOfRounds: 1, windowMs: 50, creditTokens: 10, peers: [] },
    })

    const stops = new Map<PeerName, Stop>()
    for (const peer of [...OURS, ...peers]) stops.set(peer, await stopOf(bench, peer))
    const expected = TAKE + CREDIT + READ_AHEAD

    const pairs = await stage.pairs(OURS)
    for (const { client } of pairs.values()) await client.ask('connect', 1)
    const siblings = await interleaved(
      OURS.flatMap((peer) => [`${peer}: nine`, `${peer}: nine and an unread one`] as const),
      pairsOfRounds,
      async (name) => {
        const { client, server } = pairs.get(name.slice(0, name.indexOf(':')) as PeerName) as Pair
        const request = { id: 'sibling', pace: { type: 'full' as const }, tokens: ENDLESS }
        if (name.includes('and')) await client.ask('readPart', { request: { ...request, id: 'unread' }, take: TAKE })
        await client.ask('read', { perConnection: SIBLINGS, request: { ...request, gated: true } })
        await server.ask('gathered', SIBLINGS)
        await server.ask('open')
        await pass(windowMs / 4)
        const before = await client.ask('soFar')
        await pass(windowMs)
        const after = await client.ask('soFar')
        await server.ask('endAll')
        await client.ask('finished')
        await client.ask('leavePart')
        return ((after.tokens - before.tokens) * 1e6) / (after.us - before.us)
      },
      bench.say,
    )
    for (const { client } of pairs.values()) await client.ask('disconnect')
    for (const { client } of pairs.values()) await client.ask('connect', 20)
    const credit = await interleaved(
      OURS.flatMap((peer) => [`${peer}: ${CREDIT}`, `${peer}: ${MAX_CREDIT}`] as const),
      pairsOfRounds,
      async (name) => {
        const [peer, held] = name.split(': ') as [PeerName, string]
        const { client, server } = pairs.get(peer) as Pair
        await client.ask('read', {
          perConnection: 20,
          request: { id: 'credit', pace: { type: 'full' }, tokens: creditTokens, gated: true },
          credit: Number(held),
        })
        await server.ask('gathered', 400)
        await server.ask('open')
        const { tokens } = await client.ask('finished')
        return (await server.ask('spent')).cpuUs / tokens
      },
      bench.say,
    )

    const one = (value: number): number => value
    const ratioOf = (peer: (typeof OURS)[number]): string =>
      spread(
        ratios(figuresOf(siblings, `${peer}: nine and an unread one`, one), figuresOf(siblings, `${peer}: nine`, one)),
      )
    const costOf = (peer: (typeof OURS)[number]): string =>
      spread(ratios(figuresOf(credit, `${peer}: ${CREDIT}`, one), figuresOf(credit, `${peer}: ${MAX_CREDIT}`, one)))
    const words = ({ stopped, produced }: Stop): string =>
      stopped ? figure(produced) : `never (ended at ${figure(produced)})`

    return {
      tables: [
        {
          title: `An iterator of which ${TAKE} tokens are read and no more, at full speed`,
          columns: ['', 'tokens made before it stops', 'client, heap + external'],
          rows: [...stops].map(([peer, stop]) => [peer, words(stop), growth(stop.clientHeld)]),
          notes: [
            `Expected of millrace: ${TAKE} read + ${CREDIT} credit + ${READ_AHEAD} readAhead = ${expected}, exactly.`,
          ],
        },
        {
          title: 'Bystanders',
          columns: ['', `${SIBLINGS} siblings, x without it`, `CPU with credit ${CREDIT}, x with ${MAX_CREDIT}`],
          rows: OURS.map((peer) => [peer, ratioOf(peer), costOf(peer)]),
          notes: [
            `${pairsOfRounds} interleaved pairs; tokens/s of the siblings with it and without it: ${OURS.map(
              (peer) =>
                `${peer} ${figure(median(figuresOf(siblings, `${peer}: nine and an unread one`, one)))} and ${figure(median(figuresOf(siblings, `${peer}: nine`, one)))}`,
            ).join(', ')}.`,
            ...failureNotes(siblings),
            ...failureNotes(credit),
          ],
        },
      ],
      summary: [
        {
          goal: `Tokens made for an unread iterator, <= ${expected}`,
          ws: words(stops.get('millrace, ws')!),
          uws: words(stops.get('millrace, uWS')!),
          others: peers.map((peer) => `${peer} ${words(stops.get(peer)!)}`).join(', '),
        },
        {
          goal: 'Its nine siblings go on, >= 0.95x',
          ws: ratioOf('millrace, ws'),
          uws: ratioOf('millrace, uWS'),
          others: '',
        },
        { goal: 'CPU of credit, <= 1.05x', ws: costOf('millrace, ws'), uws: costOf('millrace, uWS'), others: '' },
      ],
      failures: [...failureNotes(siblings), ...failureNotes(credit)],
      figures: { stops: Object.fromEntries(stops), siblings: recorded(siblings), credit: recorded(credit) },
    }
  },
}

async function stopOf({ stage, say }: Bench, peer: PeerName): Promise<Stop> {
  say(`where ${peer} stops`)
  const { server, client } = await stage.pair(peer)
  await client.ask('connect', 1)
  const before = (await client.ask('memory')).held
  await client.ask('readPart', { request: { id: 'unread', pace: { type: 'full' }, tokens: ENDLESS }, take: TAKE })
  let produced = 0
  let stopped = false
  for (let same = 0; same < 5 && produced < MOST_TOKENS; ) {
    await pass(60)
    const now = await server.ask('produced', 'unread')
    same = now === produced ? same + 1 : 0
    produced = now
    stopped = same >= 5
  }
  const { held } = await client.ask('memory')
  await server.ask('endAll')
  await stage[Symbol.asyncDispose]()
  return { produced, stopped, clientHeld: held - before }
}

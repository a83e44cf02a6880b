import { expect, test } from 'vitest'
import type { Run } from '../../client-sdk/index.ts'
import { RandomServer } from '../helpers/random-server.ts'
import { firstSeed, repetitions } from '../helpers/tier.ts'

const SEEDS = repetitions({ quick: 150, full: 6_000, long: 60_000 })
const CONNECT_MS = 5_000
/** So little that it comes into it. */
const CREDIT = 8
/** The deadline, and a try that was under way at that time and is waited for. */
const ANSWERED_MS = 3 * CONNECT_MS

/**
 * A client and a server that answers at random: whatever happens in whatever order, no run is opened twice at once, every
 * cancel is answered in time, and the close of the client leaves no promise open and no timer.
 */
async function live(seed: number): Promise<void> {
  const server = new RandomServer(seed)
  const { chance, time } = server
  const client = server.client({ connectMs: CONNECT_MS })
  const abort = new AbortController()
  const runs: Run[] = []
  const receipts: Promise<unknown>[] = []
  const others: Promise<unknown>[] = []
  let closing: Promise<void> | undefined

  const begin = (): void => {
    const n = String(runs.length)
    const options = {
      credit: CREDIT,
      ...(chance.of(0.3) && { key: `k_${n}` }),
      ...(chance.of(0.3) && { signal: abort.signal }),
    }
    const isView = chance.of(0.3)
    const run = isView
      ? client.attach('chat', `r_${n}`, chance.of(0.5) ? { after: 'live' } : {})
      : client.start('chat', { prompt: n }, options)
    runs.push(run)
    others.push(run.end.catch(() => {}))
  }

  const act = (): void => {
    const run = chance.pick(runs)
    const close = (): void => {
      closing ??= client.close({ runs: chance.of(0.5) ? 'cancel' : 'detach' })
    }
    const rare = [() => run.detach(), () => abort.abort(), begin, begin, begin, close]
    chance.pick([
      () => receipts.push(run.cancel()),
      () => others.push(run.send('message', 'x').catch(() => {})),
      () => others.push(run.cancel({ call: `c${chance.int(3)}` })),
      () => run.pause(),
      () => run.throttle(5),
      () => run.resume(),
      ...(chance.of(0.3) ? [chance.pick(rare)] : []),
    ])()
  }

  begin()
  if (chance.of(0.5)) begin()
  const steps = 10 + chance.int(50)
  for (let step = 0; step < steps; step++) {
    if (chance.of(0.3)) act()
    else if (chance.of(0.8)) server.act()
    else await time.advance(chance.int(chance.of(0.5) ? 100 : 4_000))
    if (chance.of(0.7)) await server.settle()
    server.read()
  }

  const conduct = chance.pick(['refuses', 'is away', 'is silent'] as const)
  let answered = 0
  for (const receipt of receipts) void receipt.then(() => answered++)
  const until = time.now() + ANSWERED_MS
  while (time.now() < until) {
    if (conduct === 'refuses') server.refuseAll()
    if (conduct === 'is away') server.cutAll()
    server.read()
    await time.advance(200)
  }
  // The client waits for a server that is there and silent.
  if (conduct !== 'is silent') expect(answered, `cancels answered by a server that ${conduct}`).toBe(receipts.length)

  closing ??= client.close()
  let settled = false
  void Promise.all([closing, ...receipts, ...others]).then(() => (settled = true))
  await time.advance(CONNECT_MS)
  await server.settle()
  server.read()
  expect(settled, 'no promise of a closed client is open').toBe(true)
  expect(time.pending, 'timers of a closed client').toBe(0)
}

test(`a client survives a server that answers, refuses, cuts and stays silent at random, in ${SEEDS} seeds`, async () => {
  const first = firstSeed()
  for (let seed = first; seed < first + SEEDS; seed++)
    await live(seed).catch((cause: unknown) => {
      throw new Error(`seed ${seed}`, { cause })
    })
})

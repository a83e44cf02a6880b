// How long does a stop take from the click of a person to the closed socket of the provider, for each client of a run?
// `npx tsx bench/adapter-stops.ts [ROUNDS]`: the clients take turns, and the answer is a table. It fails when the p99 of
// one is more than 20 ms above that of the native client. Server and clients are in one process, the provider is not.
import { agent } from '../server/index.ts'
import { openai } from '../server/models/openai.ts'
import { PAGE_CLIENTS } from '../test/adapters/one-clients.ts'
import { FakeProvider, wallMs } from '../test/helpers/fake-provider.ts'
import { compileScripts } from '../test/helpers/script-compiler.ts'
import { eventually, testServer } from '../test/helpers/server.ts'
import { percentile } from './stage/statistics.ts'

const GOAL_MS = 20
/** Rounds that are not measured: the code is compiled in them. */
const WARM_UP = 3
const rounds = Number(process.argv[2] ?? 200)
if (!Number.isInteger(rounds) || rounds < 1) {
  console.error('give the number of rounds as a whole number of at least 1')
  process.exit(2)
}

using _scripts = await compileScripts()
await using provider = await FakeProvider.start()
const actors = { answer: agent({ model: openai('answer', { baseURL: provider.baseURL, apiKey: 'key' }) }) }
await using server = await testServer(actors, { http: true, limits: { startsPerSec: 10_000, startBurst: 10_000 } })

await provider.behave('answer', { tokens: 100_000, everyMs: 1 })
const took = new Map<string, number[]>()
let requests = 0
for (let round = -WARM_UP; round < rounds; round++) {
  for (const client of PAGE_CLIENTS) {
    const chat = `${client.name}-${round}`
    const reading = await client.start({ url: server.url, actor: 'answer', chat })
    await eventually(() => reading.text.includes('t3 '), `${client.name} shows the answer`)
    const { id } = await provider.request('answer', ++requests)
    const stoppedAt = wallMs()
    reading.stop()
    const { at } = await provider.closed(id)
    if (round >= 0) took.set(client.name, [...(took.get(client.name) ?? []), at - stoppedAt])
    await reading.over
    await reading.drop()
  }
}

for (const client of PAGE_CLIENTS) await client.close?.()

const figures = [...took].map(([name, all]) => ({ name, p50: percentile(all, 0.5), p99: percentile(all, 0.99) }))
const native = figures[0]?.p99 ?? 0
for (const { name, p50, p99 } of figures)
  console.log(`${name.padEnd(42)} p50 ${p50.toFixed(1).padStart(6)} ms   p99 ${p99.toFixed(1).padStart(6)} ms`)
const late = figures.filter(({ p99 }) => p99 > native + GOAL_MS)
for (const { name, p99 } of late)
  console.error(`${name}: the p99 is ${(p99 - native).toFixed(1)} ms above that of the native client`)
process.exitCode = late.length > 0 ? 1 : 0

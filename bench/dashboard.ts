// What does the dashboard of `millrace serve` cost: how long does its page take to load, and how much of the server's CPU
// is for it beside 300 runs of 10 tokens/s? `npm run build && npx tsx bench/dashboard.ts`; needs Chromium and Linux.
import { readdirSync, readFileSync } from 'node:fs'
import { createClient } from '../client-sdk/node.ts'
import { CHROMIUM, launch } from '../test/helpers/browser.ts'
import { dashboardServer } from '../test/helpers/dashboard-page.ts'
import { pass } from './stage/clock.ts'
import { machine } from './stage/machine.ts'
import { figure, median } from './stage/statistics.ts'

const LOADS = 7
const RUNS = 300
const PER_SEC = 10
const CONNECTIONS = 6
const WINDOWS = 9
const WINDOW_MS = 3_000
const SETTLE_MS = 1_000

if (CHROMIUM === undefined) {
  console.error('chromium is missing')
  process.exit(1)
}
await using dashboard = await dashboardServer()
const { serve } = dashboard
await using browser = await launch(CHROMIUM)

/** A page that nobody has loaded before, once it shows the list; how long that took. */
async function load() {
  const context = await browser.newContext()
  const page = await context.newPage()
  const from = performance.now()
  await page.goto(`${dashboard.pageUrl}#token=ann`)
  await page.waitForSelector('#filter')
  return { ms: performance.now() - from, [Symbol.asyncDispose]: () => context.close() }
}

const loads: number[] = []
for (let n = 0; n < LOADS; n++) {
  await using page = await load()
  loads.push(page.ms)
}

const clients = Array.from({ length: CONNECTIONS }, () => createClient(serve.url, { token: 'ann' }))
for (const [n, client] of clients.entries()) {
  for (let i = n; i < RUNS; i += CONNECTIONS) {
    const run = client.start('count', { to: 1_000_000, delayMs: 1_000 / PER_SEC })
    void (async () => {
      for await (const _ of run);
    })().catch(() => {})
  }
}

/** CPU of all threads of the server so far, in nanoseconds. Ticks of 10 ms would hide what a page costs. */
function cpuNs(): number {
  const threads = `/proc/${String(serve.server.child.pid)}/task`
  const ofThread = (thread: string): number =>
    Number(readFileSync(`${threads}/${thread}/schedstat`, 'utf8').split(' ')[0])
  return readdirSync(threads).reduce((sum, thread) => sum + ofThread(thread), 0)
}

/** CPU of the server in a window, in percent of a core. */
async function cpu(): Promise<number> {
  await pass(SETTLE_MS)
  const [before, from] = [cpuNs(), performance.now()]
  await pass(WINDOW_MS)
  return (100 * (cpuNs() - before)) / 1e6 / (performance.now() - from)
}

const [alone, watched]: [number[], number[]] = [[], []]
await cpu()
for (let n = 0; n < WINDOWS; n++) {
  alone.push(await cpu())
  await using _page = await load()
  watched.push(await cpu())
}
await Promise.all(clients.map((client) => client.close({ runs: 'cancel' })))

const added = watched.map((share, n) => share - alone[n]!)
console.log(`${machine()}

page load, from the address to the list, median of ${LOADS}: ${figure(median(loads))} ms (${loads.map(figure).join(', ')})
${RUNS} runs of ${PER_SEC} tokens/s, CPU of the server: ${figure(median(alone))} % of a core without the page
with it: ${figure(median(watched))} %, median of the differences of ${WINDOWS} pairs: ${figure(median(added))} % of a core (${added.map(figure).join(', ')})`)

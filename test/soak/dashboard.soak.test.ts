/** All flows of the page, and many runs at once. */
import '../e2e/dashboard.test.ts'
import type { CDPSession, Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { createClient } from '../../client-sdk/node.ts'
import { CHROMIUM, launch } from '../helpers/browser.ts'
import { type DashboardServer, dashboardServer, pagesOf } from '../helpers/dashboard-page.ts'

const RUNS = 300
const MEASURED_MS = 10_000

describe.skipIf(CHROMIUM === undefined)('a dashboard of 300 live runs', () => {
  test('draws them, reads only those in view, and is quick to load', async () => {
    await using server = await dashboardServer()
    const clients = await runsOn(server)
    const browser = await launch(CHROMIUM!)
    const said: string[] = []
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
    const page = await pagesOf(context, said)(`${server.pageUrl}#token=ann`)
    await page.waitForSelector('.row')
    const loadedMs = await page.evaluate<number>(`performance.now()`)
    await expect.poll(() => page.textContent('.totals b'), { timeout: 20_000 }).toBe(String(RUNS))
    const devtools = await context.newCDPSession(page)
    const still = await framesOf(page, devtools)
    const scrolled = await framesOf(page, devtools, true)
    console.log(
      `dashboard of ${RUNS} runs of 10 tokens/s: rows after ${Math.round(loadedMs)} ms; median ${still.median} frames/s, ` +
        `worst second ${still.worst}; while it is scrolled ${scrolled.median} and ${scrolled.worst}`,
    )
    // A row of the list shows the words of its run, and they change.
    const words = (): Promise<string | null> => page.textContent('.row:nth-child(1) .row-words')
    const before = await words()
    await expect.poll(words).not.toBe(before)
    const readers = await server.client.ask('inspector', { once: true, everyMs: 500 }).catch(() => undefined)
    expect(readers).toBeDefined()
    expect(said).toEqual([])
    expect(still.median).toBeGreaterThan(0)
    await browser.close()
    await Promise.all(clients.map((client) => client.close()))
  })
})

/** Starts the runs, over several clients, each of which reads its own. */
async function runsOn({ serve }: DashboardServer) {
  const clients = Array.from({ length: 6 }, () => createClient(serve.url, { token: 'ann' }))
  const opened = clients.flatMap((client) =>
    Array.from({ length: RUNS / clients.length }, () => {
      const run = client.start('count', { to: 100_000, delayMs: 100 })
      void run.end.catch(() => {})
      return run.opened
    }),
  )
  await Promise.all(opened)
  return clients
}

/** The frames that a page draws in each second. */
async function framesOf(page: Page, devtools: CDPSession, isScrolled = false) {
  const { width, height } = page.viewportSize()!
  const frames = page.evaluate<number[]>(`new Promise((resolve) => {
    const perSecond = []
    const start = performance.now()
    const draw = (now) => {
      const second = Math.floor((now - start) / 1000)
      if (now - start >= ${MEASURED_MS}) return resolve(perSecond)
      perSecond[second] = (perSecond[second] ?? 0) + 1
      requestAnimationFrame(draw)
    }
    requestAnimationFrame(draw)
  })`)
  const until = Date.now() + MEASURED_MS
  while (isScrolled && Date.now() < until) {
    const params = { type: 'mouseWheel', x: width / 8, y: height * 0.7, deltaX: 0, deltaY: 240 } as const
    await devtools.send('Input.dispatchMouseEvent', params)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  const sorted = (await frames).sort((a, b) => a - b)
  return { median: sorted[Math.floor(sorted.length / 2)]!, worst: sorted[0]! }
}

import type { ConsoleMessage, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { UseRunOptions } from '../../react/index.ts'
import { actor, agent, conversation, demo, tool } from '../../server/index.ts'
import {
  CHROMIUM,
  openDisplay,
  openWindow,
  type PageServer,
  pageServer,
  type Window,
  XVFB,
} from '../helpers/browser.ts'
import { FakeProvider } from '../helpers/fake-provider.ts'
import type { PageSettings, ReactPage } from '../helpers/react-page.ts'
import { servedActors } from '../helpers/served-actors.ts'
import { eventually, type TestServer, testServer } from '../helpers/server.ts'
import { TcpProxy } from '../helpers/tcp-proxy.ts'
import { counted, counter } from '../helpers/test-actors.ts'
import { repetitions } from '../helpers/tier.ts'

/** In a window that is drawn, as those of people are. */
const testOnDisplay = test.skipIf(XVFB === undefined)

declare const shown: ReactPage

const payment = tool({
  description: 'Makes a payment',
  input: z.object({ to: z.string() }),
  needsApproval: true,
  run: ({ to }) => `paid ${to}`,
})

// Skipped tests are counted, and fail the run where skips are forbidden.
describe.skipIf(CHROMIUM === undefined)('hooks in a real browser, in StrictMode', () => {
  const steps = counter()
  const flood = counter()
  let pages: PageServer
  let window: Window
  let provider: FakeProvider
  let server: TestServer<ReturnType<typeof actorsOf>>
  let proxy: TcpProxy
  /** All that the pages wrote to their consoles, and what they threw. */
  const said: string[] = []
  const open: Page[] = []

  function actorsOf() {
    return {
      ...servedActors(),
      steps,
      flood,
      slow: actor({
        input: z.object({ to: z.number() }),
        async *stream({ to }, { signal }) {
          for (let n = 1; n <= to && !signal.aborted; n++) {
            await new Promise((resolve) => setTimeout(resolve, 4))
            yield `${n} `
          }
        },
      }),
      payer: agent({ model: demo({ tokensPerSec: 400 }), tools: { payment } }),
      chat: conversation({ agent: agent({ model: demo({ tokensPerSec: 150 }) }) }),
      writer: agent({ model: demo({ tokensPerSec: 150 }) }),
    }
  }

  beforeAll(async () => {
    const policy = "default-src 'none'; script-src 'self'; connect-src ws://127.0.0.1:*; img-src data:"
    ;[pages, window, provider] = await Promise.all([
      pageServer('react-page.ts', { 'content-security-policy': policy }),
      openWindow(CHROMIUM!),
      FakeProvider.start(),
    ])
    server = await testServer(actorsOf(), { origins: [pages.origin] })
    proxy = await TcpProxy.to(Number(new URL(server.url).port))
  }, 60_000)
  afterEach(async () => {
    await Promise.all(open.splice(0).map((page) => page.close()))
    expect(said.splice(0)).toEqual([])
  })
  afterAll(async () => {
    for (const each of [window, proxy, server, provider, pages]) await each[Symbol.asyncDispose]()
  })

  /** A page that shows a run of an actor. It is in front. */
  async function load(
    name: string,
    options: UseRunOptions = {},
    url = server.url,
    talk?: string,
    { context } = window,
  ): Promise<Page> {
    const page = await context.newPage()
    open.push(page)
    page.on('console', (message: ConsoleMessage) => {
      // React recommends its tools to developers.
      if (message.type() !== 'info') said.push(`${message.type()}: ${message.text()}`)
    })
    page.on('pageerror', (error) => void said.push(String(error)))
    const settings: PageSettings = { url, actor: name, options, ...(talk !== undefined && { conversation: talk }) }
    await page.goto(`${pages.origin}/#${encodeURIComponent(JSON.stringify(settings))}`)
    await page.waitForFunction(() => shown.renderings > 0)
    expect(await page.evaluate(() => shown.isStrict)).toBe(true)
    return page
  }

  const start = (page: Page, input: unknown): Promise<void> => page.evaluate((given) => shown.run.start(given), input)
  const textOf = (page: Page): Promise<string | null> => page.textContent('#text')
  const isShown = (page: Page, status: string): Promise<unknown> =>
    page.waitForFunction((wanted) => shown.run.status === wanted, status)
  const isLonger = (page: Page, length: number): Promise<unknown> =>
    page.waitForFunction((least) => shown.run.text.length > least, length)

  test('a page types an answer, and its stop closes the socket of the provider and shows the receipt', async () => {
    await provider.behave('endless', { tokens: 1_000_000, everyMs: 2 })
    const page = await load('ask')
    await start(page, { provider: 'openai', name: 'endless', host: provider.host })
    const lengths: number[] = []
    for (let more = 1; lengths.length < 4; more = lengths.at(-1)!) {
      await isLonger(page, more)
      lengths.push((await textOf(page))!.length)
    }
    const { id } = await provider.request('endless')
    await page.click('#stop')
    expect(await provider.closed(id)).toMatchObject({ whole: false })
    await isShown(page, 'cancelled')
    expect(await page.textContent('#receipt')).toBe('stopped, provider closed')
    expect(await textOf(page)).toMatch(/^t0 t1 t2 /)
  })

  test('StrictMode starts a run once, and unmounting detaches from it until the component is back', async () => {
    const runs = steps.runs.length
    const page = await load('steps', { input: 20_000, credit: 64 })
    await isLonger(page, 100)
    await page.evaluate(() => shown.unmount())
    await eventually(() => server.server.liveRuns === 1, 'the run goes on')
    const renderings = await page.evaluate(() => shown.renderings)
    expect(steps.runs.length).toBe(runs + 1)
    expect(steps.runs.at(-1)).toMatchObject({ aborted: false })
    expect(await page.evaluate(() => shown.renderings)).toBe(renderings)
    await page.evaluate(() => shown.run.stop())
  })

  test('a page that is loaded again in the middle of a run shows it exactly, and has kept nothing itself', async () => {
    const page = await load('slow', { follow: { chat: 'reload' } })
    await isShown(page, 'idle')
    await start(page, { to: 250 })
    await isLonger(page, 200)
    await page.reload()
    await isLonger(page, 0)
    await isShown(page, 'done')
    expect(await textOf(page)).toBe(counted(1, 250))
    await page.reload()
    await isShown(page, 'done')
    expect(await textOf(page)).toBe(counted(1, 250))
    expect(await page.evaluate(() => shown.list.runs.filter((run) => run.meta?.['chat'] === 'reload').length)).toBe(1)
  })

  test('a second tab shows the run live while the first one is hidden, and each has it all in the end', async () => {
    const follow = { chat: 'tabs' }
    const first = await load('steps', { follow, credit: 8 })
    await isShown(first, 'idle')
    await start(first, 1_000)
    await isLonger(first, 20)
    // It is in front now, and the first one draws nothing.
    const second = await load('steps', { follow, credit: 8 })
    await isShown(second, 'done')
    expect(await textOf(second)).toBe(counted(1, 1_000))
    expect(await first.evaluate(() => shown.run.status)).not.toBe('done')
    await start(second, 40)
    await isShown(second, 'done')
    await first.bringToFront()
    await first.waitForFunction((text) => shown.run.text === text, counted(1, 40))
  })

  test('a page whose network is cut reads on where it was, and says meanwhile that it is not connected', async () => {
    const page = await load('slow', {}, proxy.url)
    await start(page, { to: 250 })
    for (let cut = 1; cut <= 3; cut++) {
      await isLonger(page, cut * 200)
      const next = proxy.next()
      proxy.connections.at(-1)!.cut()
      await next
    }
    await isShown(page, 'done')
    expect(await textOf(page)).toBe(counted(1, 250))
    expect(await page.evaluate(() => shown.status)).toBe('open')
  })

  testOnDisplay(
    'a hidden page stops a model that floods it, takes no memory, and goes on when shown',
    async () => {
      await using display = await openDisplay(XVFB!)
      await using drawn = await openWindow(CHROMIUM!, display.name)
      const page = await load('flood', { credit: 256 }, server.url, undefined, drawn)
      const devtools = await drawn.context.newCDPSession(page)
      const heap = async (): Promise<number> => {
        await devtools.send('HeapProfiler.collectGarbage')
        const { usedSize } = await devtools.send('Runtime.getHeapUsage')
        return usedSize
      }
      await start(page, 10_000_000)
      await isLonger(page, 20_000)
      const other = await drawn.context.newPage()
      open.push(other)
      await other.bringToFront()
      await expect.poll(() => page.evaluate('document.hidden')).toBe(true)
      const produced = flood.runs.at(-1)!
      // What was granted before is used up, while another run of the same connection goes on.
      let before = -1
      await eventually(() => before === (before = produced.count), 'the actor waits', 10_000)
      const [heldAt, heapAt, textAt] = [produced.count, await heap(), (await textOf(page))!.length]
      const client = await load('slow', {}, server.url, undefined, drawn)
      await start(client, { to: 100_000 })
      const hiddenMs = repetitions({ quick: 1, full: 20 }) * 1_000
      const end = performance.now() + hiddenMs
      for (let more = 50; performance.now() < end; more += 50) await isLonger(client, more)
      await client.evaluate(() => shown.run.stop())
      expect(produced.count).toBe(heldAt)
      expect((await textOf(page))!.length).toBe(textAt)
      expect((await heap()) - heapAt).toBeLessThan(1_000_000)
      await page.bringToFront()
      await isLonger(page, textAt + 20_000)
      expect(counted(1, produced.count).startsWith((await textOf(page))!)).toBe(true)
      // StrictMode renders twice what is rendered once.
      const renderings = await page.evaluate<number>(`new Promise((resolve) => {
      const before = shown.renderings
      let frames = 0
      const draw = () => (++frames > 30 ? resolve(shown.renderings - before) : requestAnimationFrame(draw))
      draw()
    })`)
      expect(renderings).toBeGreaterThan(2)
      expect(renderings).toBeLessThanOrEqual(2 * 31)
      await page.click('#stop')
      await isShown(page, 'cancelled')
      expect(produced.aborted).toBe(true)
    },
    60_000,
  )

  test('a hidden page that is to read completes an answer', async () => {
    const page = await load('steps', { whenHidden: 'read' })
    const other = await window.context.newPage()
    open.push(other)
    await other.bringToFront()
    await start(page, 300)
    await expect.poll(() => page.evaluate(() => shown.run.status), { timeout: 15_000 }).toBe('done')
    expect(await textOf(page)).toBe(counted(1, 300))
  })

  test('a button approves a tool call, and a message cuts an answer short', async () => {
    const page = await load('payer')
    await start(page, 'Make a payment to Alice.')
    await page.click('.approve')
    await isShown(page, 'done')
    expect(await textOf(page)).toContain('paid Alice')
    expect(await page.locator('.approve').count()).toBe(0)

    const writer = await load('writer')
    await start(writer, 'Tell me about millrace')
    await isLonger(writer, 30)
    const delivery = await writer.evaluate(() => shown.run.send('message.now', 'Only the credit, please').delivery)
    expect(delivery).toEqual({ n: 2 })
    await isShown(writer, 'done')
    expect(await writer.evaluate(() => shown.run.parts.length)).toBe(2)
    expect(await textOf(writer)).toContain('Only the credit, please')
  })

  test('a conversation is typed, stopped, edited and branched, and each tab shows the same', async () => {
    const first = await load('chat', {}, server.url, 'c1')
    const messages = (page: Page): Promise<string[]> => page.locator('.message').allTextContents()
    await first.evaluate(() => void shown.talk.send('Tell me about rivers'))
    await first.waitForFunction(() => (shown.talk.messages[1]?.text.length ?? 0) > 30)
    await first.evaluate(() => shown.talk.stop())
    await first.waitForFunction(() => shown.talk.messages[1]?.status === 'cancelled')
    const cut = await messages(first)
    expect(cut[1]).toMatch(/^.{30,}$/)

    await first.evaluate(() => void shown.talk.edit(shown.talk.messages[0]!.id, 'Tell me about lakes'))
    await first.waitForFunction(() => shown.talk.messages[1]?.status === 'sent')
    expect((await messages(first))[1]).toContain('lakes')
    const second = await load('chat', {}, server.url, 'c1')
    await second.waitForFunction(() => shown.talk.messages.length === 2)
    expect(await messages(second)).toEqual(await messages(first))
    await second.evaluate(() => shown.talk.select(shown.talk.messages[0]!.versions[0]!))
    await second.waitForFunction((text) => shown.talk.messages[0]?.text === text, 'Tell me about rivers')
    await first.bringToFront()
    await first.waitForFunction((text) => shown.talk.messages[0]?.text === text, 'Tell me about rivers')
    expect(await messages(first)).toEqual(cut)
  })
})

import type { Browser, BrowserContext, ConsoleMessage, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { CHROMIUM, experiment, launch, type PageServer, pageServer } from '../helpers/browser.ts'
import { type ServedActors, servedActors } from '../helpers/served-actors.ts'
import { eventually, type TestServer, testServer } from '../helpers/server.ts'
import type { SharedExperiments, SharedPageSettings } from '../helpers/shared-page.ts'
import { TcpProxy } from '../helpers/tcp-proxy.ts'

// Skipped tests are counted, and fail the run where skips are forbidden.
describe.skipIf(CHROMIUM === undefined)('two tabs of a real browser', () => {
  let pages: PageServer
  let browser: Browser
  let context: BrowserContext
  let server: TestServer<ServedActors>
  let proxy: TcpProxy
  /** All that the pages wrote to their consoles, and what they threw. */
  let said: string[] = []

  beforeAll(async () => {
    const policy =
      "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src ws://127.0.0.1:*; img-src data:"
    const workers = { '/worker.js': '../../client-sdk/shared-worker.ts' }
    pages = await pageServer('shared-page.ts', { 'content-security-policy': policy }, workers)
    browser = await launch(CHROMIUM!)
  }, 60_000)
  beforeEach(async () => {
    server = await testServer(servedActors(), { origins: [pages.origin] })
    proxy = await TcpProxy.to(Number(new URL(server.url).port))
    // Its pages share workers with no others.
    context = await browser.newContext()
    said = []
  })
  afterEach(async () => {
    await context.close()
    await proxy[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  })
  afterAll(async () => {
    await browser.close()
    await pages[Symbol.asyncDispose]()
  })

  async function open(worker = '/worker.js'): Promise<Page> {
    const page = await context.newPage()
    page.on('console', (message: ConsoleMessage) => void said.push(`${message.type()}: ${message.text()}`))
    page.on('pageerror', (error) => void said.push(String(error)))
    const settings: SharedPageSettings = { url: proxy.url, worker }
    await page.goto(`${pages.origin}/#${encodeURIComponent(JSON.stringify(settings))}`)
    return page
  }

  function call<Name extends keyof SharedExperiments>(
    page: Page,
    name: Name,
    ...args: Parameters<SharedExperiments[Name]>
  ): Promise<Awaited<ReturnType<SharedExperiments[Name]>>> {
    return experiment(page, name, ...args)
  }

  /** Resolves when a page has read more texts than that. */
  async function hasRead(page: Page, least: number): Promise<void> {
    while ((await call(page, 'read')) <= least) expect(await call(page, 'read')).not.toBe(-1)
  }

  test('have one WebSocket: both stream, a cut loses nothing, and when one is closed the other goes on', async () => {
    const [one, two] = [await open(), await open()]
    await call(one, 'start', 100_000, 1, 64)
    await call(two, 'start', 2_000, 1, 64)
    await hasRead(one, 20)
    await hasRead(two, 20)
    expect(server.server.connections).toBe(1)
    proxy.connections[0]!.cut()
    await hasRead(one, 200)
    await hasRead(two, 200)
    expect([server.server.connections, proxy.connections.length]).toEqual([1, 2])
    // It closes without a word: its lock is free then.
    await one.close()
    expect(await call(two, 'end')).toBe('done')
    expect(await call(two, 'read')).toBe(2_000)
    expect(server.server.connections).toBe(1)
    expect(said).toEqual([])
  })

  test('slow their own runs only: what one does not read stops, and the other reads on', async () => {
    const [one, two] = [await open(), await open()]
    await call(one, 'hold')
    const held = await call(one, 'start', 100_000, 0, 16)
    await call(two, 'start', 20_000, 0, 64)
    expect(await call(two, 'end')).toBe('done')
    const seq = await call(two, 'seqOf', held)
    expect(seq).toBeLessThanOrEqual(16 + DEFAULT_LIMITS.readAhead + 1)
    expect(await call(two, 'seqOf', held)).toBe(seq)
    await call(one, 'goOn')
    await hasRead(one, 100)
    expect(server.server.connections).toBe(1)
    expect(said).toEqual([])
  })

  test('leave the connection to the other when they are loaded again, and take it up with the last one', async () => {
    const [one, two] = [await open(), await open()]
    await call(one, 'start', 100, 0, 64)
    await call(two, 'start', 100_000, 1, 64)
    await one.reload()
    await call(one, 'start', 100, 0, 64)
    expect(await call(one, 'end')).toBe('done')
    await hasRead(two, 50)
    expect(proxy.connections).toHaveLength(1)
    await one.close()
    await two.close()
    await eventually(() => server.server.connections === 0, 'the worker ends with its last page')
    expect(said).toEqual([])
  })

  test('have a connection each where the worker cannot be loaded, or the policy of the page forbids it', async () => {
    for (const worker of ['/', 'https://127.0.0.1:1/worker.js']) {
      const [one, two] = [await open(worker), await open(worker)]
      for (const page of [one, two]) {
        await call(page, 'start', 100, 0, 64)
        expect(await call(page, 'end')).toBe('done')
      }
      expect(server.server.connections).toBe(2)
      await one.close()
      await two.close()
      await eventually(() => server.server.connections === 0, 'both are closed')
    }
  })

  test('have a connection each where the browser has no shared workers', async () => {
    await context.addInitScript(() => Reflect.deleteProperty(globalThis, 'SharedWorker'))
    const [one, two] = [await open(), await open()]
    for (const page of [one, two]) {
      await call(page, 'start', 100, 0, 64)
      expect(await call(page, 'end')).toBe('done')
    }
    expect(server.server.connections).toBe(2)
    expect(said).toEqual([])
  })
})

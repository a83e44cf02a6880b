import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CHROMIUM, experiment, launch, type PageServer, pageServer } from '../helpers/browser.ts'
import type { Experiments } from '../helpers/browser-page.ts'
import { httpServed } from '../helpers/http-served.ts'
import { mixedEvents } from '../helpers/mixed-run.ts'
import { type ServedActors, servedActors } from '../helpers/served-actors.ts'
import { eventually, type TestServer, testServer } from '../helpers/server.ts'
import { TcpProxy } from '../helpers/tcp-proxy.ts'

type Result<Name extends keyof Experiments> = Awaited<ReturnType<Experiments[Name]>>

// Skipped tests are counted, and fail the run where skips are forbidden.
describe.skipIf(CHROMIUM === undefined)('in a real browser', () => {
  let pages: PageServer
  let browser: Browser
  let server: TestServer<ServedActors>
  let proxy: TcpProxy
  let page: Page

  beforeAll(async () => {
    pages = await pageServer()
    browser = await launch(CHROMIUM!)
    server = await testServer(servedActors(), { origins: [pages.origin] })
    proxy = await TcpProxy.to(Number(new URL(server.url).port))
    page = await browser.newPage()
    await page.exposeFunction('cutConnection', () => proxy.connections.at(-1)!.cut())
    await page.goto(pages.origin)
  }, 60_000)
  afterAll(async () => {
    await browser.close()
    await proxy[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
    await pages[Symbol.asyncDispose]()
  })

  test('a page streams tokens', async () => {
    const { texts, end, statuses } = await experiment<Result<'streams'>>(page, 'streams', server.url)
    expect(texts).toEqual(Array.from({ length: 2_000 }, (_, n) => `${n + 1} `))
    expect(end).toMatchObject({ outcome: 'done', seq: 2_001 })
    expect(statuses).toEqual(['connecting', 'open', 'closed'])
  })

  test('a page cancels a run by a call and by leaving its loop', async () => {
    const { receipt, read, end } = await experiment<Result<'cancels'>>(page, 'cancels', server.url)
    expect(receipt).toMatchObject({ outcome: 'cancelled', settled: true, reason: 'superseded', note: 'from a page' })
    expect(read).toBe(5)
    expect(end).toMatchObject({ outcome: 'cancelled', receipt: { settled: true } })
    expect(server.server.liveRuns).toBe(0)
  })

  test('a page whose connection is cut again and again reads everything once', async () => {
    const rounds = 3
    const events = await experiment<Result<'survivesCuts'>>(page, 'survivesCuts', proxy.url, rounds)
    expect(events.map(({ seq: _, at: __, ...event }) => event)).toEqual([...mixedEvents(rounds)])
    expect(proxy.connections.length).toBeGreaterThan(3)
  })

  test('the EventSource of a page goes on with its run, and reads everything once, when its connection is cut', async () => {
    await using served = await httpServed(servedActors(), { origins: [pages.origin], http: { eventSource: ['count'] } })
    await using network = await TcpProxy.to(Number(new URL(served.url).port))
    const listener = await browser.newPage()
    await listener.exposeFunction('cutConnection', () => network.connections.at(-1)!.cut())
    await listener.goto(pages.origin)
    const { texts, runs, outcome } = await experiment<Result<'listens'>>(listener, 'listens', network.url, 200, 50)
    expect(texts).toEqual(Array.from({ length: 200 }, (_, n) => `${n + 1} `))
    expect(runs).toEqual([runs[0], runs[0]])
    expect(outcome).toBe('done')
    await listener.close()
  })

  test('a page that was loaded again goes on at its last position', async () => {
    const position = await experiment<Result<'leaves'>>(page, 'leaves', server.url)
    expect(position).toMatchObject({ seq: 36 })
    await page.reload()
    const events = await experiment<Result<'comesBack'>>(page, 'comesBack', server.url, position)
    expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: 64 }, (_, n) => n + 37))
  })

  test('a page of another origin is refused at once, and learns why', async () => {
    await using others = await pageServer()
    const stranger = await browser.newPage()
    await stranger.goto(others.origin)
    const { code, message, changes } = await experiment<Result<'fails'>>(stranger, 'fails', server.url)
    expect([code, message]).toEqual(['forbidden', expect.stringContaining('`origins`')])
    expect(changes).toEqual(['connecting', 'closed forbidden'])
    expect(server.server.connections).toBe(0)
    expect(server.warnings).toEqual([expect.objectContaining({ event: 'origin.refused', origin: others.origin })])
    await stranger.close()
  })

  test('a page whose server does not listen learns it at once', async () => {
    const nobody = await testServer(servedActors())
    await nobody[Symbol.asyncDispose]()
    const { code, message, changes } = await experiment<Result<'fails'>>(page, 'fails', nobody.url)
    expect([code, message]).toEqual(['connection_lost', `${nobody.url} cannot be reached`])
    expect(changes.slice(0, 2)).toEqual(['connecting', 'lost connection_lost'])
  })

  test('a page whose address is none learns it at once', async () => {
    const { code, changes } = await experiment<Result<'fails'>>(page, 'fails', 'ws://127.0.0.1:99999')
    expect([code, ...changes]).toEqual(['bad_request', 'connecting', 'closed bad_request'])
  })

  test('a page that closes while it connects, and connects again, writes nothing to the console', async () => {
    const said: string[] = []
    page.on('console', (message) => said.push(message.text()))
    expect(await experiment<Result<'mountsTwice'>>(page, 'mountsTwice', server.url)).toBe('1 2 3 ')
    expect(said).toEqual([])
    await eventually(() => server.server.connections === 0, 'all connections are gone')
  })
})

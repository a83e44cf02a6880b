import { describe, expect, test } from 'vitest'
import type { ClientOptions } from '../../client-sdk/index.ts'
import { createClient } from '../../client-sdk/node.ts'
import type { Closed } from '../../client-sdk/shared-messages.ts'
import type { SharedWorkerLike } from '../../client-sdk/shared-websocket.ts'
import { decodeDown } from '../../protocol/decode.ts'
import { encodeUp } from '../../protocol/encode.ts'
import type { DownFrame, UpFrame } from '../../protocol/frames.ts'
import { DEFAULT_LIMITS } from '../../protocol/limits.ts'
import { mixedEvents } from '../helpers/mixed-run.ts'
import { readAll } from '../helpers/read-all.ts'
import { type ServedActors, servedActors } from '../helpers/served-actors.ts'
import { eventually, testServer } from '../helpers/server.ts'
import { type BrowserPageOptions, SharedBrowser } from '../helpers/shared-browser.ts'
import { TcpProxy } from '../helpers/tcp-proxy.ts'

const delays = { quickMs: 5, backoffMs: 5, maxBackoffMs: 20 }

/** A page with a client. */
function pageOf(browser: SharedBrowser, url: string, options: BrowserPageOptions & ClientOptions = {}) {
  const { user, without, start, WebSocket: _, ...rest } = options
  const page = browser.page({ ...(user !== undefined && { user }), without, start })
  const client = createClient<ServedActors>(url, { token: 'alice', delays, WebSocket: page.WebSocket, ...rest })
  return { page, client }
}

const numbers = (to: number) => Array.from({ length: to }, (_, n) => `${n + 1} `)

describe('pages of one browser', () => {
  test('stream over one connection, and one that closes leaves the other alone', async () => {
    await using server = await testServer(servedActors())
    using browser = new SharedBrowser()
    const [one, two] = [pageOf(browser, server.url), pageOf(browser, server.url)]
    const runs = [one.client.start('count', { to: 2_000 }), two.client.start('count', { to: 3_000, delayMs: 1 })]
    const read = runs[1]!.text()
    expect((await read.next()).value).toBe('1 ')
    expect(await readAll(runs[0]!.text())).toEqual(numbers(2_000))
    expect(await runs[0]!.end).toMatchObject({ outcome: 'done', seq: 2_001 })
    expect(server.server.connections).toBe(1)
    await one.client.close()
    expect((await read.next()).value).toBe('2 ')
    const receipt = await runs[1]!.cancel({ note: 'from the other page' })
    expect(receipt).toMatchObject({ outcome: 'cancelled', settled: true, note: 'from the other page' })
    expect(server.server.connections).toBe(1)
    await two.client.close()
    await eventually(() => server.server.connections === 0, 'the connection is closed with the last page')
    expect(browser.waiting).toBe(0)
  })

  test('use all of the protocol as on a connection of their own', async () => {
    await using server = await testServer(servedActors())
    using browser = new SharedBrowser()
    const { client } = pageOf(browser, server.url)
    const events = await readAll(client.start('mixed', { rounds: 3 }))
    expect(events.map(({ seq: _, at: __, ...event }) => event)).toEqual([...mixedEvents(3)])
    expect(await client.ask('count', { to: 3 })).toBe('1 2 3 ')
    await expect(client.ask('nobody' as 'count', { to: 1 })).rejects.toMatchObject({ code: 'not_found' })
    const listed = await client.runs()
    expect(listed.map(({ actor, outcome }) => [actor, outcome])).toEqual([
      ['mixed', 'done'],
      ['count', 'done'],
    ])
    const again = client.attach('count', listed[1]!.id, { after: 1 })
    expect(await readAll(again.text())).toEqual(['2 ', '3 '])
    await client.close()
  })

  test('hold back their own runs only, when they do not read', async () => {
    await using server = await testServer(servedActors())
    using browser = new SharedBrowser()
    const [idle, busy] = [pageOf(browser, server.url), pageOf(browser, server.url)]
    const unread = idle.client.start('count', { to: 100_000 }, { credit: 8 })
    await unread.opened
    expect(await readAll(busy.client.start('count', { to: 5_000 }).text())).toEqual(numbers(5_000))
    const [held] = await busy.client.runs()
    expect(held).toMatchObject({ id: (await unread.opened).id, state: 'running' })
    // Credit, and what an actor may be ahead of it.
    expect(held!.seq).toBeLessThanOrEqual(8 + DEFAULT_LIMITS.readAhead)
    await Promise.all([idle.client.close(), busy.client.close()])
  })

  test('that die without a word detach their runs, and the others go on', async () => {
    await using server = await testServer(servedActors())
    using browser = new SharedBrowser()
    const [dying, other] = [pageOf(browser, server.url), pageOf(browser, server.url)]
    const left = dying.client.start('sleep', { ms: 600_000 }, { onDetach: 'cancel', detachMs: 1 })
    const { id } = await left.opened
    const kept = other.client.start('sleep', { ms: 600_000 })
    await kept.opened
    dying.page.die()
    // A reader of the same principal would keep it.
    await eventually(() => server.server.liveRuns === 1, 'the run of the page that is gone ends')
    const listed = await other.client.runs()
    expect(listed.map(({ id, outcome }) => [id, outcome])).toEqual([
      [id, 'cancelled'],
      [(await kept.opened).id, undefined],
    ])
    expect(server.server.connections).toBe(1)
    await Promise.all([other.client.close(), dying.client.close({ runs: 'detach' })])
  })

  test('read everything once when their connection is cut again and again', async () => {
    await using server = await testServer(servedActors())
    await using proxy = await TcpProxy.to(Number(new URL(server.url).port))
    using browser = new SharedBrowser()
    const pages = [pageOf(browser, proxy.url), pageOf(browser, proxy.url)]
    const cuts = 4
    const all = await Promise.all(
      pages.map(async ({ client }, n) => {
        const texts: string[] = []
        for await (const text of client.start('count', { to: 400, delayMs: 1 }, { credit: 16 }).text()) {
          texts.push(text)
          if (n === 0 && texts.length % 80 === 40 && texts.length < 80 * cuts) proxy.connections.at(-1)!.cut()
        }
        return texts
      }),
    )
    expect(all).toEqual([numbers(400), numbers(400)])
    expect(proxy.connections).toHaveLength(cuts + 1)
    await Promise.all(pages.map(({ client }) => client.close()))
  })

  test('of two users do not share', async () => {
    await using server = await testServer(servedActors())
    using browser = new SharedBrowser()
    const alice = pageOf(browser, server.url, { user: 'alice' })
    const bob = pageOf(browser, server.url, { user: 'bob', token: 'bob' })
    await alice.client.ask('count', { to: 1 })
    await bob.client.ask('count', { to: 1 })
    expect(server.server.connections).toBe(2)
    expect(await bob.client.runs()).toHaveLength(1)
    await Promise.all([alice.client.close(), bob.client.close()])
  })

  test('learn each that their credentials are refused, and come in with new ones', async () => {
    await using server = await testServer(servedActors())
    using browser = new SharedBrowser()
    const refused = [pageOf(browser, server.url, { token: 'mallory' }), pageOf(browser, server.url, { token: 'eve2' })]
    await Promise.all(
      refused.map(({ client }) =>
        expect(client.ask('count', { to: 1 })).rejects.toMatchObject({ code: 'unauthenticated' }),
      ),
    )
    const tokens = ['mallory', 'alice']
    const { client } = pageOf(browser, server.url, { token: () => tokens.shift()! })
    expect(await client.ask('count', { to: 1 })).toBe('1 ')
    expect(tokens).toEqual([])
    await client.close()
  })

  test('leave as many views as they like: what is left takes no place on the connection', async () => {
    const maxStreams = 4
    await using server = await testServer(servedActors(), { limits: { maxStreams } })
    using browser = new SharedBrowser()
    const { client } = pageOf(browser, server.url)
    const run = client.start('sleep', { ms: 600_000 })
    const { id } = await run.opened
    for (let n = 0; n < 2 * maxStreams; n++) {
      const view = client.attach('sleep', id)
      // Also before it is open, where both travel together.
      if (n % 2 === 0) await view.opened
      view.detach()
    }
    expect(await client.ask('count', { to: 3 })).toBe('1 2 3 ')
    await client.close()
  })

  test('get their turn when more streams are wanted than one connection may have', async () => {
    await using server = await testServer(servedActors(), { limits: { maxStreams: 4 } })
    using browser = new SharedBrowser()
    const pages = Array.from({ length: 4 }, () => pageOf(browser, server.url))
    const asked = pages.flatMap(({ client }) => Array.from({ length: 4 }, () => client.ask('count', { to: 2 })))
    expect(await Promise.all(asked)).toEqual(asked.map(() => '1 2 '))
    expect(server.server.connections).toBe(1)
    const sleeping = pages.map(({ client }) => client.start('sleep', { ms: 600_000 }))
    const ids = await Promise.all(sleeping.map(({ opened }) => opened.then(({ id }) => id)))
    const fifth = pages[0]!.client.attach('sleep', ids[1]!)
    expect(await fifth.end).toMatchObject({ outcome: 'error', error: { code: 'too_many_streams', retryable: true } })
    await Promise.all(pages.map(({ client }) => client.close()))
  })
})

describe('a page has a connection of its own', () => {
  const silent = (): SharedWorkerLike => ({ port: { postMessage() {} }, onerror: undefined })
  const cases: [string, BrowserPageOptions & ClientOptions][] = [
    ['where there is no SharedWorker', { without: 'SharedWorker' }],
    ['where there are no Web Locks, which tell that a page is gone', { without: 'locks' }],
    [
      'where the page may start no worker',
      {
        start() {
          throw new Error('blocked by the policy of the page')
        },
      },
    ],
    [
      'when the script of the worker cannot be loaded',
      {
        start() {
          const worker = silent()
          setImmediate(() => (worker.onerror as () => void)())
          return worker
        },
      },
    ],
    ['when the worker does not answer', { start: silent, delays: { ...delays, tryMs: 50 } }],
  ]
  test.each(cases)('%s', async (_what, options) => {
    await using server = await testServer(servedActors())
    using browser = new SharedBrowser()
    const [one, two] = [pageOf(browser, server.url, options), pageOf(browser, server.url, options)]
    expect(await one.client.ask('count', { to: 3 })).toBe('1 2 3 ')
    expect(await two.client.ask('count', { to: 3 })).toBe('1 2 3 ')
    expect(server.server.connections).toBe(2)
    expect(one.page.starts).toBeLessThanOrEqual(1)
    await Promise.all([one.client.close(), two.client.close()])
  })

  test('only if it has to: one that closes before the worker has answered shares all the same', async () => {
    await using server = await testServer(servedActors())
    using browser = new SharedBrowser()
    const { client } = pageOf(browser, server.url)
    client.connect()
    void client.close()
    client.connect()
    const other = pageOf(browser, server.url)
    expect(await client.ask('count', { to: 1 })).toBe('1 ')
    expect(await other.client.ask('count', { to: 1 })).toBe('1 ')
    expect(server.server.connections).toBe(1)
    await Promise.all([client.close(), other.client.close()])
  })
})

describe('a page that breaks the protocol loses its own socket, and the others keep theirs:', () => {
  const hello: UpFrame = { kind: 'hello', client: new Uint8Array(16), attempt: 1, auth: 'alice' }
  const start = (sid: number): UpFrame => ({ kind: 'start', sid, actor: 'count', input: { to: 1 }, options: {} })
  const up = (...frames: UpFrame[]): Uint8Array => encodeUp(frames)
  const cases: [string, number, unknown[]][] = [
    ['a text', 4400, ['hello']],
    ['an object', 4400, [{ kind: 'hello' }]],
    ['null', 4400, [null]],
    ['an empty message', 4400, [new Uint8Array(0)]],
    ['bytes that are no frame', 4400, [new Uint8Array([0xc1, 1, 2, 3])]],
    ['a frame of the server', 4400, [up(hello), new Uint8Array([0x92, 0x11, 0xff])]],
    ['a frame before HELLO', 4400, [up(start(1))]],
    ['a second HELLO', 4400, [up(hello), up(hello)]],
    ['a number that does not rise', 4400, [up(hello, start(2)), up(start(2))]],
    ['a message that is too large', 4413, [up(hello), new Uint8Array(DEFAULT_LIMITS.maxMessage + 1)]],
    ['more frames than may wait', 4429, [up(hello, ...Array.from({ length: 1_200 }, (_, n) => start(n + 1)))]],
  ]
  test.each(cases)('%s', async (_what, code, messages) => {
    await using server = await testServer(servedActors())
    using browser = new SharedBrowser()
    const { client } = pageOf(browser, server.url)
    const run = client.start('count', { to: 100_000 }, { credit: 4 })
    const texts = run.text()
    expect((await texts.next()).value).toBe('1 ')
    const { closed, port } = openPort(browser, server.url)
    for (const message of messages) port.postMessage(message)
    expect(await closed).toMatchObject({ code })
    for (let n = 2; n < 50; n++) expect((await texts.next()).value).toBe(`${n} `)
    expect(server.server.connections).toBe(1)
    await client.close()
  })

  test.each([
    undefined,
    null,
    'url',
    7,
    {},
    { url: 1, user: 'alice', lock: 'x' },
    { url: 'ws://127.0.0.1', lock: 'x' },
  ])('a request that is none: %j', async (request) => {
    using browser = new SharedBrowser()
    const { port1, port2 } = new browser.channels()
    const closed = new Promise((resolve) => (port1 as unknown as NodePort).once('close', resolve))
    browser.connections.open(request, port2)
    await closed
    expect(browser.waiting).toBe(0)
  })

  test('an address that is none', async () => {
    using browser = new SharedBrowser()
    const { closed, port } = openPort(browser, 'nonsense:')
    port.postMessage(up(hello))
    expect(await closed).toMatchObject({ code: 1002 })
  })

  test('frames about streams that it does not have change nothing', async () => {
    await using server = await testServer(servedActors())
    using browser = new SharedBrowser()
    const { client } = pageOf(browser, server.url)
    const run = client.start('sleep', { ms: 600_000 })
    await run.opened
    const { port, frames } = openPort(browser, server.url)
    port.postMessage(up(hello))
    for (const sid of [1, 2, 9_000])
      port.postMessage(
        up(
          { kind: 'cancel', sid },
          { kind: 'credit', sid, n: 5 },
          { kind: 'detach', sid },
          { kind: 'rate', sid, perSec: 0 },
        ),
      )
    port.postMessage(up({ kind: 'ping', nonce: 7 }))
    await eventually(() => frames.some(({ kind }) => kind === 'pong'), 'the page is answered')
    expect(frames.map(({ kind }) => kind)).toEqual(['welcome', 'pong'])
    expect(await client.runs()).toMatchObject([{ state: 'running' }])
    await client.close()
  })
})

type NodePort = { once(event: string, listener: (value: unknown) => void): void }

/** A page that says to the worker what it likes. */
function openPort(browser: SharedBrowser, url: string) {
  const { port1, port2 } = new browser.channels()
  const frames: DownFrame[] = []
  const limits = { ...DEFAULT_LIMITS, maxBytes: DEFAULT_LIMITS.maxDown }
  const closed = new Promise<Closed>((resolve) => {
    port1.onmessage = ({ data }: { data: unknown }) => {
      if (ArrayBuffer.isView(data)) frames.push(...decodeDown(data as Uint8Array, limits))
      else if (data !== 'open') resolve(data as Closed)
    }
  })
  const lock = browser.hold()
  browser.connections.open({ url: new URL(url).href, user: 'alice', lock }, port2)
  return { port: port1, closed, frames }
}
